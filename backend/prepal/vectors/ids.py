"""Names of texts and of encoders' tables."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TERMS_TABLE = "terms"
"""Name of the table of terms, which are of no encoder."""
FILES = "-files"
"""At the end of the name of a table that holds an adapted encoder itself."""
# Odd numbers that spread the digits of an id over all bits.
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


def text_id(text: str) -> str:
    """Name of a text, in any project: 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def text_ids(ids: Sequence[str]) -> NDArray[np.bytes_]:
    """(n,) S32: text ids as an array."""
    return np.array(ids, "S32")


def text_keys(ids: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """(n,) uint64: a number for each text id (n,) S32.

    That two of a hundred million are equal is less likely than 1 in 1000.
    """
    words = np.ascontiguousarray(ids, "S32").view(np.uint64).reshape(-1, 4)
    keys: NDArray[np.uint64] = words @ _MULTIPLIERS
    keys ^= keys >> np.uint64(32)
    return keys


def table_name(encoder: str) -> str:
    """Name of an encoder's table, by its identity: readable, and different for every encoder."""
    slug = re.sub(r"[^a-z0-9]+", "-", encoder.lower()).strip("-")[-60:].strip("-")
    return f"{slug}-{hashlib.blake2b(encoder.encode(), digest_size=4).hexdigest()}"


def files_table(encoder: str) -> str:
    """Name of the table of an adapted encoder's files, by its identity."""
    return table_name(encoder) + FILES
