"""How the cores are used: one BLAS thread each, and chunks of texts spread over them.

BLAS threads that wait for each other make small products ten times slower as soon as anything else runs on the machine,
and here the embed worker does.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import threadpoolctl  # type: ignore[import-untyped]

CHUNK_ROWS = 4096  # at 384 dimensions the float32 copy of a chunk is 6 MB, which a processor's cache holds

_blas = threadpoolctl.ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Let BLAS use one thread of whoever calls it, for as long as the context lasts."""
    limited: AbstractContextManager[object] = _blas.limit(limits=1, user_api="blas")
    return limited


def by_chunks(rows: int, work: Callable[[slice], None], chunk: int = CHUNK_ROWS) -> None:
    """Do work on slices of rows, over all cores."""
    with one_blas_thread(), ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(lambda start: work(slice(start, start + chunk)), range(0, rows, chunk)):
            pass
