"""The one reader of a row's text: which fields hold it, how each is read, and what they say together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from prepal import records
from prepal.errors import PrepalError
from prepal.labels.label_config import LabelConfig
from prepal.labels.text_fields import DIALOGUE_TAGS, IS_ADDRESS, TextField, UnembeddableError, parts_of
from prepal.records import readable
from prepal_workers.labelled.guessing import PAIRS, guessed, has_markup, kind_of, leaves, turns, value_at
from prepal_workers.labelled.wording import named

Text = str | tuple[str, str]
"""A text, or a pair of texts."""

_HOW = {"HyperText": " (HTML, without its tags)", "Paragraphs": " (a dialogue, turn by turn)"}
# So many rows tell whether texts lie in a field.
_LOOKED_AT = 500


@dataclass(frozen=True)
class TextFields:
    """The fields of a row, or of a task's data, that are its text.

    Attributes:
        names: the fields' names, with dots where one lies in another; or the variables of a label config.
        pair: whether the two of them are a pair of texts.
        kinds: how each is read, as a label config says of its tags; as a plain text if left out.
        by_config: whether templates of the kinds say what the text of a task is.
        note: what was chosen, in a sentence, where nobody said it.
    """

    names: tuple[str, ...]
    pair: bool = False
    kinds: tuple[TextField, ...] = ()
    by_config: bool = False
    note: str = ""

    @classmethod
    def of(cls, config: LabelConfig) -> "TextFields":
        """Those that a label config shows."""
        return cls(tuple(f"${name}" for name in shown(config)), kinds=config.fields, by_config=True)

    @classmethod
    def find(
        cls,
        rows: Sequence[Mapping[str, Any]],
        name: str,
        wanted: Sequence[str] = (),
        pair: bool | None = None,
        config: LabelConfig | None = None,
    ) -> "TextFields":
        """The fields that are wanted, else those that the config shows, else those that people would read.

        Args:
            rows: the tasks' data, or a file's rows.
            name: the file's name, for messages.
            wanted: names of fields.
            pair: whether two fields are a pair of texts; None: if they have the names of one.
            config: the project's label config.

        Raises:
            PrepalError: no field holds a text, or one that is wanted does not; or a pair is wanted of other than two.
        """
        if config and not wanted and not pair:
            return cls.of(config)._checked(rows, name)
        names = tuple(wanted) or (shown(config) if config else guessed(rows, name))
        if pair and len(names) != 2:
            raise PrepalError(
                f"A pair has two fields, but there are {len(names)} ({named(names)}): name two with --text."
            )
        own = {field.template: field for field in config.fields} if config else {}
        kinds = tuple(own.get(f"${one}") or kind_of(rows, one, name) for one in names)
        found = cls(names, names in PAIRS if pair is None else pair, kinds)._checked(rows, name)
        return found if wanted or config else replace(found, note=_told(rows, names, kinds))

    @classmethod
    def remembered(cls, said: Mapping[str, Any]) -> "TextFields":
        """What `to_json` told, of this or an earlier release.

        Raises:
            LookupError, TypeError: it is nothing of the kind.
        """
        kinds = tuple(kind for one in said.get("read_as", ()) if (kind := records.fill(TextField, one)))
        names = tuple(map(str, said["fields"]))
        if said.get("by_config") and kinds:
            return cls(names, kinds=kinds, by_config=True)
        names = tuple(name.removeprefix("$") for name in names) if not kinds else names
        return cls(names, bool(said["pairs"]), kinds if len(kinds) == len(names) else ())

    def to_json(self) -> dict[str, Any]:
        """What lets another process read texts in the same way."""
        read_as = [asdict(kind) for kind in self.kinds]
        return {"fields": list(self.names), "pairs": self.pair, "by_config": self.by_config, "read_as": read_as}

    def text(self, data: Mapping[str, Any]) -> Text | None:
        """The text of a row: its fields joined by a line feed, or a pair; None where there is none."""
        try:
            return self._read(data)
        except UnembeddableError:
            return None

    def _read(self, data: Mapping[str, Any]) -> Text:
        if self.by_config:
            return _joined(self.kinds, {key: turns(value) for key, value in data.items()} if self._talk else data)
        found = ((f"f{place}", value_at(data, name)) for place, name in enumerate(self.names))
        values = {key: turns(value) if self._talk else value for key, value in found if value is not None}
        if self.pair:
            first, second = (_joined([kind], values) for kind in self._numbered)
            return first, second
        return _joined(self._numbered, values)

    def _checked(self, rows: Sequence[Mapping[str, Any]], name: str) -> "TextFields":
        """The same, unless rows have addresses in place of texts, or none has what a label config reads."""
        reasons: Counter[str] = Counter()
        for row in rows[:_LOOKED_AT]:
            try:
                self._read(row)
            except UnembeddableError as reason:
                reasons[str(reason)] += 1
        if 2 * reasons[IS_ADDRESS] > min(len(rows), _LOOKED_AT):
            where = f"The texts of {name} in {named(self.names)}"
            raise PrepalError(f"{where} are addresses, which nobody reads: give the texts themselves.")
        has_none = rows and reasons.total() == len(rows[:_LOOKED_AT])
        if self.by_config and has_none and not any(map(self.text, rows[_LOOKED_AT:])):
            raise PrepalError(f"No task of {name} has a text to read ({reasons.most_common(1)[0][0]}).")
        return self

    @cached_property
    def _talk(self) -> bool:
        """Whether any is a dialogue, which a table holds as JSON."""
        return any(kind.tag in DIALOGUE_TAGS for kind in self.kinds)

    @cached_property
    def _numbered(self) -> list[TextField]:
        kinds = self.kinds or (TextField("Text", ""),) * len(self.names)
        return [replace(kind, template=f"$f{place}") for place, kind in enumerate(kinds)]


def data_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row, or the data of the Label Studio task that it is or has."""
    task = row.get("task")
    inner = task.get("data") if isinstance(task, Mapping) else row.get("data")
    return inner if isinstance(inner, Mapping) else row


def shown(config: LabelConfig) -> tuple[str, ...]:
    """The fields of a task that a label config shows as its text."""
    return tuple(dict.fromkeys(name for field in config.fields for name in field.variables))


def _joined(fields: Sequence[TextField], data: Mapping[str, Any]) -> str:
    """What the live loop reads of them."""
    return readable("\n".join(parts_of(fields, data)))


def _told(rows: Sequence[Mapping[str, Any]], names: Sequence[str], kinds: Sequence[TextField]) -> str:
    """A sentence on a choice that could have been another one; empty where it could not."""
    found = {path for row in rows for path, value in leaves(row).items() if isinstance(value, str) and value.strip()}
    others = sorted(path for path in found - {*names, ""} if not path.startswith("_"))
    marked = [name for name, kind in zip(names, kinds, strict=True) if kind.tag == "Text" and has_markup(rows, name)]
    if not others and not marked and not any(kind.tag in _HOW for kind in kinds):
        return ""
    read = ", ".join(name + _HOW.get(kind.tag, "") for name, kind in zip(names, kinds, strict=True))
    unread = f", and not {named(others)}" if others else ""
    unread += f"; the tags in some of {named(marked)} are read as they are" if marked else ""
    return f"The text is {read}{unread}: if that is wrong, name fields by --text, or give the label config by --config."
