"""The vector cache: every text once for each encoder, whichever projects have it."""

from typing import TYPE_CHECKING, Any

from prepal.vectors.ids import table_name, text_id, text_ids, text_keys

if TYPE_CHECKING:
    from prepal.vectors.table import VectorTable

__all__ = ["VectorTable", "table_name", "text_id", "text_ids", "text_keys"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # LanceDB takes seconds to load on a busy machine: only whoever opens a table waits for it.
    if name == "VectorTable":
        from prepal.vectors.table import VectorTable

        return VectorTable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
