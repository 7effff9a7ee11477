"""The vector cache: every text once for each encoder, whichever projects have it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prepal.vectors.ids import TERMS_TABLE, table_name, text_id, text_ids, text_keys

if TYPE_CHECKING:
    from prepal.vectors.table import TextTable, VectorTable
    from prepal.vectors.terms import TermTable

__all__ = [
    "TERMS_TABLE",
    "TermTable",
    "TextTable",
    "VectorTable",
    "table_name",
    "text_id",
    "text_ids",
    "text_keys",
]
_TABLES = {"TextTable": "table", "VectorTable": "table", "TermTable": "terms"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # LanceDB takes seconds to load on a busy machine: only whoever opens a table waits for it.
    if name in _TABLES:
        return getattr(import_module(f"prepal.vectors.{_TABLES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
