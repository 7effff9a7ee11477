"""Rows with texts and labels, as people write them and as other tools do: Prodigy, doccano, argilla, datasets."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prepal import records
from prepal.errors import PrepalError
from prepal.files import Row
from prepal.labels.events import as_list
from prepal_workers.labelled.wording import named

# The fields that tools write labels to; where several are there, the first one counts.
_LABELS = ("label", "labels", "accept", "annotation", "label_text", "label_name", "cats")
# Names of the labels that another field has as numbers, as SetFit's data sets have them.
_NAMES = ("label_text", "label_name")
# What only rows of tools have.
_OF_TOOLS = ("answer", "annotations", "completions", "annotation_id", "result", "status")
# What Prodigy's annotators answer, and argilla's statuses of records that say nothing.
_ANSWERS = ("accept", "reject", "ignore")
_DISCARDED = ("Discarded", "discarded")
_LONGEST_QUOTED, _LONGEST_LIST = 40, 10_000
# What people and doccano put between several labels in one cell; what may as well belong to a name comes second.
_BETWEEN = (re.compile(r"[|;]|,(?![\s\d])"), re.compile(r"[|;,#]"))
# As numpy writes a list of strings: Python would read them as one.
_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_OF_NUMPY = re.compile(rf"\[\s*(?:{_STRING})(?:\s+(?:{_STRING}))+\s*\]")
# From here on spaCy means that a text has a label.
_SURE = 0.5
_RESPONSES, _PARTS = ".responses", {"value": "", "user_id": ".users", "status": ".status"}
_ABOUT = ("id", "_server_id", "status", "meta", "metadata", "fields", "responses", "suggestions", "vectors")


@dataclass(frozen=True)
class Labels:
    """What rows say of their labels.

    Attributes:
        field: where they stand.
        given: the names of each row's labels; None where it has none.
        why_none: why a row has none, or "".
        multilabel: whether a row may have several.
        other_fields: fields that tell of labels, and are no texts.
        note: a sentence on what the reader should know, or "".
    """

    field: str
    given: list[list[str] | None]
    why_none: list[str]
    multilabel: bool
    other_fields: frozenset[str]
    note: str = ""


def label_field(rows: Sequence[Row]) -> str | None:
    """The field with the labels; None where none has a name that is known for it."""
    columns = {column.lower(): column for row in rows for column in sorted(row)}
    field = next((columns[one] for one in _LABELS if one in columns), None)
    names = next((columns[one] for one in _NAMES if one in columns), None)
    return names if field and names and _all_numbers([row.get(field) for row in rows]) else field


def _are_labels(rows: Sequence[Row], column: str) -> bool:
    """Whether a column has the name of one with labels, and names in it."""
    values = [row.get(column) for row in rows]
    return column.lower() in _LABELS and not _all_numbers(values) and any(v not in (None, "", [], {}) for v in values)


def is_plain(rows: Sequence[Row]) -> bool:
    """Whether labels stand where people write them, in `label`, and no other tool says anything of them."""
    columns = {column for row in rows for column in row}
    return not columns.intersection(_OF_TOOLS) and label_field(rows) in (None, "label")


def read_labels(rows: Sequence[Row], name: str, wanted: str | None = None) -> Labels:
    """The labels of a file's rows; its `name` is for messages, and `wanted` the field that was named.

    Raises:
        PrepalError: there is no such field, or it holds something else than names of labels.
    """
    columns = sorted({str(column) for row in rows for column in row})
    field = wanted or label_field(rows)
    if field is None:
        raise PrepalError(
            f"{name} has no labels (found: {named(columns) or 'nothing'}): give a Label Studio export, or name the "
            "field of the labels with --label."
        )
    if field not in columns:
        raise PrepalError(f"{name} has no field {field!r} for labels: there are {named(columns)}; name one of these.")
    answered = field != "answer" and _is_prodigy(rows)
    given: list[list[str] | None] = []
    why_none: list[str] = []
    several = alone = False
    for place, row in enumerate(rows, start=1):
        value = _value(row.get(field))
        why = _why_none(row, answered=answered)
        if value in (None, "") or why:
            given.append(None)
            why_none.append(why or "without a label")
            continue
        labels = _names(value, row)
        if labels is None:
            said = str(value)[:_LONGEST_QUOTED]
            raise PrepalError(
                f"{name} row {place} has {said!r} as {field!r}: labels are of whole texts, so write a name or a list "
                "of names, or name another field with --label."
            )
        alone = alone or not isinstance(value, list | dict)
        several = several or len(labels) > 1 or _may_have_several(row)
        given.append(labels)
        why_none.append("")
    _check_marks([_value(row.get(field)) for row in rows], name, field)
    _check_joined(given, name, field)
    if not several:
        # A list of one each is a single choice; then an empty one says that nobody has chosen yet.
        why_none = [why or ("" if labels else "without a label") for labels, why in zip(given, why_none, strict=True)]
        given = [labels or None for labels in given]
    note = ""
    if not several and not alone and any(given):
        note = f"Each list in {field!r} has one label: they are read as single labels."
    elif _all_numbers([row.get(field) for row in rows]):
        note = f"The labels in {field!r} are numbers: a field 'label_text' beside them would give their names."
    rivals = [] if wanted else [column for column in columns if column != field and _are_labels(rows, column)]
    if rivals:
        what = (
            f"The labels are those in {field!r}, and not in {named(rivals)}: if that is wrong, name one with --label."
        )
        note = f"{note} {what}".strip()
    others = {*(column for column in columns if column.lower() in _LABELS), field, *(["answer"] if answered else [])}
    return Labels(field, given, why_none, several, frozenset(others), note)


def voted(rows: Sequence[Row], name: str, wanted: str | None = None) -> Sequence[Row]:
    """Rows that have what each annotator chose, as argilla and the older doccano write them, as tasks; or as they are.

    Args:
        rows: of a file.
        name: the file's, for messages.
        wanted: the question that was named.

    Raises:
        PrepalError: there are several questions.
    """
    rows = [{**row["fields"], **row, **row["responses"]} if _is_of_argilla(row) else row for row in rows]
    columns = {column for row in rows for column in row}
    questions = {c.removesuffix(_RESPONSES) for c in columns if c.endswith(_RESPONSES)}
    questions |= {
        c for c in columns if any(_is_votes(row.get(c), "value", by) for row in rows for by in ("status", "user_id"))
    }
    if any(_is_votes(row.get("annotations"), "label", "user") for row in rows):
        questions.add("annotations")
    if len(questions) > 1 and wanted not in questions:
        raise PrepalError(f"{name} has several questions ({named(sorted(questions))}): name one with --label.")
    question = wanted if wanted in questions else next(iter(questions), None)
    return rows if question is None else [_as_task(row, question, place) for place, row in enumerate(rows, start=1)]


def _is_of_argilla(row: Row) -> bool:
    """Whether it is a record of argilla 2, with fields and responses in objects of their own."""
    return isinstance(row.get("fields"), dict) and isinstance(row.get("responses"), dict)


def _is_votes(value: object, *keys: str) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and v.keys() >= {*keys} for v in value)


def _as_task(row: Row, question: str, place: int) -> Row:
    """A Label Studio task with an annotation for each vote that was submitted."""
    votes = row.get(question)
    if not isinstance(votes, list):
        parts = {key: as_list(row.get(f"{question}{_RESPONSES}{end}")) for key, end in _PARTS.items()}
        votes = [{key: part[at] for key, part in parts.items() if at < len(part)} for at in range(len(parts["value"]))]
    annotations = []
    for vote in votes:
        value = vote.get("value", vote.get("label")) if isinstance(vote, dict) else None
        if value in (None, "", []) or vote.get("status", "submitted") != "submitted":
            continue
        chosen = [str(one) for one in (value if isinstance(value, list) else [value])]
        by = str(vote.get("user_id", vote.get("user")))
        # Annotators are told apart by what they are called, of which Label Studio knows numbers.
        number = 1 + int.from_bytes(hashlib.blake2b(by.encode("utf-8", "replace"), digest_size=6).digest())
        result = [{"from_name": question, "type": "choices", "value": {"choices": chosen}}]
        annotations.append({"completed_by": number, "result": result})
    data = {
        key: value for key, value in row.items() if key.split(".")[0].split("-")[0] != question and key not in _ABOUT
    }
    return {"id": place, "data": data, "annotations": annotations}


def _value(value: object) -> object:
    """A label, or a list of labels, also where a table holds the list as JSON, or as Python writes it."""
    if not isinstance(value, str):
        return value
    if len(value) <= _LONGEST_LIST and _OF_NUMPY.fullmatch(value.strip()):
        return [ast.literal_eval(one) for one in re.findall(_STRING, value)]
    for read in (records.loads, ast.literal_eval):
        if value.startswith("[") and len(value) <= _LONGEST_LIST:
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return list(read(value))
    return value.strip()


def _check_marks(values: Sequence[object], name: str, field: str) -> None:
    """Refuse a 0 or 1 for each label, of which names of labels were 0 and 1."""
    lists = [value for value in values if isinstance(value, list) and value]
    if len({len(value) for value in lists}) == 1 and all(mark in (0, 1) for value in lists for mark in value):
        place, marks = next(((n, v) for n, v in enumerate(values, start=1) if v and isinstance(v, list)))
        if any(len(set(value)) < len(value) for value in lists):
            raise PrepalError(
                f"{name} row {place} has {str(marks)[:_LONGEST_QUOTED]} as {field!r}, a 0 or 1 for each label: write "
                "the names of those that are 1 as a list."
            )


def _check_joined(given: Sequence[list[str] | None], name: str, field: str) -> None:
    """Refuse a label that is several in one cell: what it is made of stands in other labels, too."""
    places: dict[str, int] = {}
    for place, labels in enumerate(given, start=1):
        for label in labels or ():
            places.setdefault(label, place)
    surely, perhaps = ({label: [p.strip() for p in between.split(label)] for label in places} for between in _BETWEEN)
    counts = Counter(part for parts in surely.values() for part in set(parts))
    for label, place in places.items():
        known = [part for part in dict.fromkeys(surely[label]) if counts[part] > 1 and len(surely[label]) > 1]
        if places.keys() >= {*perhaps[label]} and len(perhaps[label]) > 1:
            known = perhaps[label]
        if known and all(surely[label]):
            raise PrepalError(
                f"{name} row {place} has {label[:_LONGEST_QUOTED]!r} as {field!r}, and other labels have "
                f"{named(known)}, too: write several as a list, in brackets and quotes."
            )


def _names(value: object, row: Row) -> list[str] | None:
    """Names of labels; None where it is something else."""
    if isinstance(value, Mapping):
        # As in spaCy: how sure each label is.
        if not value or not all(_is_number(sure) or isinstance(sure, bool) for sure in value.values()):
            return None
        return [str(name).strip() for name, sure in value.items() if sure >= _SURE]
    names = value if isinstance(value, list) else [value]
    if any(one is None or isinstance(one, list | dict) for one in names):
        return None
    options = row.get("options")
    called = {
        str(option.get("id")): option["text"]
        for option in (options if isinstance(options, list) else [])
        if isinstance(option, dict) and _is_number(option.get("id")) and isinstance(option.get("text"), str)
    }
    return [called.get(str(one), str(one)).strip() for one in names]


def _why_none(row: Row, *, answered: bool) -> str:
    if answered and row.get("answer") != "accept":
        return {"reject": "rejected", "ignore": "ignored"}.get(str(row.get("answer")), "without an answer")
    return "discarded" if row.get("status") in _DISCARDED else ""


def _is_prodigy(rows: Sequence[Row]) -> bool:
    answers = [answer for row in rows if (answer := row.get("answer")) is not None]
    return bool(answers) and all(answer in _ANSWERS for answer in answers)


def _may_have_several(row: Row) -> bool:
    """Whether Prodigy or argilla says that a text could have had several."""
    config = row.get("config")
    return row.get("multi_label") is True or (isinstance(config, dict) and config.get("choice_style") == "multiple")


def _all_numbers(values: Sequence[object]) -> bool:
    written = [value for value in values if value not in (None, "", [])]
    digits = (isinstance(value, str) and value.strip().isdecimal() for value in written)
    return bool(written) and all(_is_number(v) or is_digits for v, is_digits in zip(written, digits, strict=True))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
