"""Label Studio's flat exports, JSON_MIN, CSV and TSV: a row for each annotation, in which tags and data stand alike."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from prepal import records
from prepal.errors import PrepalError
from prepal.files import Row
from prepal.labels.events import Annotation, as_list, is_of_part, number, read_annotation
from prepal.labels.paths import CHOICE_KINDS
from prepal_workers.labelled.guessing import guessed, is_called_a_text, is_prose
from prepal_workers.labelled.wording import named

# What they say of an annotation, beside the task's data and the control tags.
_META = {"annotator", "annotation_id", "created_at", "updated_at", "lead_time", "id", "agreement", "history"}
# CSV calls a field of the data so that has the name of a control tag.
_DATA_PREFIX = "_data_"
# Longer digits are no id, and very long ones are not turned into a number at all.
_LONGEST_ID = 20
# So a table writes several choices, and paths of a Taxonomy.
_WRITTEN_CHOICES = ('{"choices"', '[{"choices"', '[{"taxonomy"')
_WRITTEN_OF_REGIONS = '[{"start"'
# With fewer tasks, a column of choices hardly repeats itself.
_FEW_TASKS = 10


def is_flat(rows: Sequence[Row]) -> bool:
    """Whether rows are such an export."""
    return any({"annotator", "annotation_id"} <= row.keys() for row in rows)


def flat_tasks(
    rows: Sequence[Row], name: str, choice: str | None, data_fields: Collection[str], *, is_json: bool
) -> tuple[list[tuple[int, dict[str, Any], list[Annotation]]], list[str], list[str]]:
    """Tasks by their ids, with data and annotations; the columns that hold choices; and those of regions' choices.

    Args:
        rows: of the export.
        name: the file's, for messages.
        choice: the `Choices` tag that is wanted, as a table alone does not always tell which column it is.
        data_fields: fields that are surely data, because somebody named them or the label config shows them.
        is_json: whether it is JSON_MIN, in whose rows the tags follow the data.

    Raises:
        PrepalError: nothing tells which column holds the choices, or a tag has overwritten the text.
    """
    columns = [column for column in _columns(rows) if column not in _META]
    # A field with the name of a tag has another one in a table, and in JSON_MIN none.
    renamed = {column.removeprefix(_DATA_PREFIX) for column in columns if column.startswith(_DATA_PREFIX)}
    surely_data = {column for column in data_fields if column not in renamed}
    between = _tag_columns(rows) if is_json else []
    among = [column for column in between or columns if not column.startswith(_DATA_PREFIX)]
    by_task = _by_task(rows, None if is_json else surely_data)
    varying = [c for c in among if any(len({_frozen(row.get(c)) for row in of}) > 1 for of in by_task.values())]
    candidates = [column for column in among if column not in surely_data]
    tags = [choice] if choice in columns else _choice_columns(candidates, varying, by_task, name)
    if is_json and (lost := sorted(surely_data.intersection(tags))):
        raise PrepalError(
            f"The tag {lost[0]!r} of {name} has the name of a field, which JSON_MIN leaves out for it: export as JSON."
        )
    control = set(between or varying)
    if between:
        first = min((among.index(tag) for tag in tags if tag in among), default=len(among))
        control -= {column for column in _data_between(rows, columns, among[:first]) if column not in varying}
    not_data = (_META | renamed | control | set(tags)) - surely_data
    names = {_frozen(row.get("annotator")) for row in rows if row.get("annotator") not in (None, "")}
    in_order = sorted(names, key=lambda name: (_number(name) or 0, name))
    annotators = {name: place for place, name in enumerate(in_order, start=1)}
    tasks = []
    for task, of in by_task.items():
        of = sorted(of, key=lambda row: _number(row.get("annotation_id")) or 0)
        data = {c.removeprefix(_DATA_PREFIX): value for c, value in of[0].items() if c not in not_data}
        tasks.append((task, data, [_annotation(row, task, tags, annotators) for row in of if _marked(row)]))
    parts = [tag for tag in tags if any(map(is_of_part, (item for row in rows for item in _items(row, [tag]))))]
    return tasks, [tag for tag in tags if tag not in parts], parts


def _by_task(rows: Sequence[Row], data_fields: Collection[str] | None) -> dict[int, list[Row]]:
    """The rows of each task by its id; `data_fields` of a table, in which the data's own id hides the task's."""
    by_id: dict[str, list[Row]] = {}
    for place, row in enumerate(rows, start=1):
        by_id.setdefault(f"row {place}" if row.get("id") in (None, "") else _frozen(row["id"]), []).append(row)
    if data_fields is not None and (texts := _what_ids_do_not_share(list(by_id.values()), data_fields)):
        by_id = {}
        for row in rows:
            by_id.setdefault(_frozen([row.get(column) for column in texts]), []).append(row)
    numbers = [_number(key) for key in by_id]
    known = [number for number in numbers if number is not None]
    in_order = known if len(set(known)) == len(by_id) else range(1, len(by_id) + 1)
    return dict(zip(in_order, by_id.values(), strict=True))


def _what_ids_do_not_share(groups: Sequence[Sequence[Row]], data_fields: Collection[str]) -> Sequence[str]:
    """The columns with texts, if an id is not a task's: most have several rows of one annotator, with other texts."""
    several = [of for of in groups if len(of) > 1]
    rows = [row for of in several for row in of]
    prose = [column for column in _columns(rows) if column not in _META and _is_prose(rows, column)]
    texts = [c for c in prose if c in data_fields] or (
        guessed([{column: row[column] for column in prose} for row in rows], "") if prose else []
    )

    def are_many(of: Sequence[Row]) -> bool:
        by_one = len({row.get("annotator") for row in of}) < len(of)
        return by_one and all(len({row.get(column) for row in of}) > 1 for column in texts)

    return texts if 2 * sum(map(are_many, several)) > len(several) else []


def _tag_columns(rows: Sequence[Row]) -> list[str]:
    """The control tags of JSON_MIN, which stand between a task's id and its annotator."""
    found: dict[str, None] = {}
    for row in rows:
        names = list(row)
        if "id" in names and "annotator" in names:
            found |= dict.fromkeys(n for n in names[names.index("id") + 1 : names.index("annotator")] if n not in _META)
    # Where these are comments alone, the tag with the choices has overwritten a field of the data.
    return [] if all(_is_prose(rows, column) for column in found) else list(found)


def _data_between(rows: Sequence[Row], columns: Sequence[str], before_tags: Sequence[str]) -> list[str]:
    """The data's own fields between id and annotator: an id of the data has the task's, and may stand amid them."""
    if all(next(iter(row), None) == "id" for row in rows):
        return list(before_tags)
    prose = [column for column in columns if _is_prose(rows, column)]
    texts = [column for column in before_tags if column in prose]
    return [c for c in texts if is_called_a_text(c)] if set(prose) - set(before_tags) else texts


def _is_prose(rows: Sequence[Row], column: str) -> bool:
    """Whether people wrote it; what holds others' words as JSON is none of that."""
    strings = [value for row in rows if isinstance(value := row.get(column), str) and value]
    return is_prose(strings) and not any(map(_is_choices, strings))


def _choice_columns(
    columns: Sequence[str], varying: Sequence[str], by_task: Mapping[int, Sequence[Row]], name: str
) -> list[str]:
    """The columns that hold choices: by their form, or because they repeat few values; several only if that is sure."""
    values = {c: [row.get(c) for of in by_task.values() for row in (of if c in varying else of[:1])] for c in columns}
    values = {c: [v for v in found if v not in (None, "")] for c, found in values.items()}
    sure = [c for c in columns if any(_is_choices(value) for value in values[c])]
    if sure or len(columns) == 1:
        return sure or list(columns)
    repeating = []
    for column, found in values.items():
        distinct = len({_frozen(value) for value in found})
        if 1 < distinct <= (len(found) / 2 if len(found) >= _FEW_TASKS else len(found) - 1):
            repeating.append(column)
    if len(repeating) > 1:
        repeating = [c for c in repeating if not is_prose([_frozen(value) for value in values[c]])] or repeating
    if len(repeating) > 1:
        repeating = [c for c in repeating if c in varying] or repeating
    if len(repeating) == 1:
        return repeating
    if not any(_marked(row) for of in by_task.values() for row in of):
        return []
    among = named(sorted(repeating or columns)) or "nothing"
    raise PrepalError(f"{name} does not tell which column holds the choices ({among}): name it with --choice.")


def _annotation(row: Row, task: int, tags: Iterable[str], annotators: Mapping[str, int]) -> Annotation:
    by = annotators.get(_frozen(row.get("annotator")))
    return read_annotation({**row, "completed_by": by, "result": _items(row, tags)}, task)


def _items(row: Row, tags: Iterable[str]) -> list[dict[str, Any]]:
    return [{"from_name": tag, "value": value} for tag in tags for value in _values(row.get(tag))]


def _values(value: object) -> list[dict[str, Any]]:
    """What was chosen, by the kind of the tag, as a JSON export has it; a nested choice is its path, a list."""
    if value in (None, "", []):
        return []
    if isinstance(value, str) and value[0] in "[{":
        try:
            value = records.loads(value)
        except ValueError:
            return [{"choices": [value]}]
    is_path = isinstance(value, list) and not any(isinstance(part, Mapping) for part in value)
    parts = value if isinstance(value, list) and not is_path else [value]
    alone = [part for part in parts if not isinstance(part, Mapping)]
    given = [part for part in parts if isinstance(part, Mapping)]
    found = [{**part, **{kind: as_list(part.get(kind)) for kind in CHOICE_KINDS}} for part in given]
    return [*found, *([{"choices": alone}] if alone else [])]


def _is_choices(value: object) -> bool:
    if isinstance(value, str):
        of_regions = value.startswith(_WRITTEN_OF_REGIONS) and any(f'"{kind}": [' in value for kind in CHOICE_KINDS)
        return of_regions or value.startswith(_WRITTEN_CHOICES)
    parts = [part for part in as_list(value) if isinstance(part, Mapping)]
    return any(isinstance(part.get(kind), list) for part in parts for kind in CHOICE_KINDS)


def _marked(row: Row) -> bool:
    return row.get("annotation_id") not in (None, "")


def _columns(rows: Iterable[Row]) -> list[str]:
    return sorted({column for row in rows for column in row})


def _number(value: object) -> int | None:
    written = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _LONGEST_ID
    return number(int(value) if written else value)  # type: ignore[call-overload]


def _frozen(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
