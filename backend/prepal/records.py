"""JSON that holds what others wrote, and stored records of any release."""

import json
import math
import re
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

# Integers of more than 64 bits have so many digits or more; orjson makes doubles of them.
_MAY_BE_LARGE = re.compile(rb"\d{19}")
# A double holds no number with more digits before the point.
_DIGITS = 308
_adapter = lru_cache(TypeAdapter)


def dumps(value: object) -> bytes:
    """Return JSON, in UTF-8, of dicts with string keys, lists, strings, numbers, booleans and None.

    Lone surrogates and integers of any size come back from `loads` as they were; what is not finite becomes null.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).encode()


def loads(raw: bytes | str) -> Any:  # noqa: ANN401
    """Read JSON, also with lone surrogates and with numbers of any size; those that a double cannot hold are None.

    Raises:
        ValueError: it is not JSON, or is nested deeper than can be read.
    """
    written = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if not _MAY_BE_LARGE.search(written):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(raw)
    try:
        return json.loads(raw, parse_int=_int, parse_float=_float, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def readable(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which neither a page nor a terminal nor a file takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read(cls: type[T], raw: bytes) -> T | None:
    """A stored record of the dataclass `cls`, as this or any other release wrote it; see `fill`."""
    try:
        return fill(cls, loads(raw))
    except ValueError:
        return None


def fill(cls: type[T], value: object) -> T | None:
    """The dataclass `cls` with what a value has of its fields, by name.

    Unknown fields are ignored; missing ones, and ones of another type, take their default. None when a field without a
    default is among these: what is stored is a copy, and is made anew where there is none.
    """
    if not isinstance(value, dict):
        return None
    adapter: TypeAdapter[T] = _adapter(cls)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        wrong = {name for at in error.errors(include_url=False, include_input=False) for name in at["loc"][:1]}
    right = {f.name: value[f.name] for f in fields(cls) if f.name in value and f.name not in wrong}
    try:
        return adapter.validate_python(right)
    except ValidationError:
        return None


def _finite(value: object) -> object:
    """The same without numbers that JSON does not have, as orjson writes them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) <= _DIGITS else None


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
