"""The vector cache: every text once for each encoder, whichever projects have it; and encoders that were adapted."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prepal.vectors.ids import FILES, TERMS_TABLE, files_table, table_name, text_id, text_ids, text_keys

if TYPE_CHECKING:
    from prepal.vectors.adapted import AdaptedEncoders, LostEncoderError
    from prepal.vectors.table import TextTable, VectorTable
    from prepal.vectors.terms import TermTable

__all__ = [
    "FILES",
    "TERMS_TABLE",
    "AdaptedEncoders",
    "LostEncoderError",
    "TermTable",
    "TextTable",
    "VectorTable",
    "files_table",
    "table_name",
    "text_id",
    "text_ids",
    "text_keys",
]
_TABLES = {
    "AdaptedEncoders": "adapted",
    "LostEncoderError": "adapted",
    "TermTable": "terms",
    "TextTable": "table",
    "VectorTable": "table",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # LanceDB takes seconds to load on a busy machine: only whoever opens a table waits for it.
    if name in _TABLES:
        return getattr(import_module(f"prepal.vectors.{_TABLES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
