"""Second looks as tabs of Label Studio's Data Manager: made when there is something to see, kept fresh, emptied.

A tab is a filter, an order and columns. Its tasks are named by ids of annotations, its order is that of the scores of
our predictions, and what the classifier thinks, and why, is in their results. These tasks have a label, so that nobody
waits for them: their scores lie behind all others, and what annotators are served next stays as it is.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from prepal import records
from prepal.label_studio.api import NotFoundError
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.publish import TAIL_HIGH, Published
from prepal.labels import label_config
from prepal.labels.label_config import LabelConfig
from prepal.labels.second_looks import KINDS, Kind, Look, SecondLooks
from prepal.labels.settle import settle
from prepal.project import MODEL_VERSION, Project

log = logging.getLogger(__name__)

# Of a title some fourteen letters are seen at once.
TITLES: dict[str, str] = {
    "suspected": "Probably wrong (PRepAL)",
    "disputed": "Disagreement (PRepAL)",
    "twins": "Same text, other label (PRepAL)",
    "passed": "Passed (PRepAL)",
}
# Label Studio's interface makes this one when somebody opens a project that has no tab at all, and only then.
_DEFAULT = "Default"
# The least likely label first. What was passed has none: there what most people skipped comes first.
_ORDER = {**dict.fromkeys(KINDS, "tasks:predictions_score"), "passed": "-tasks:cancelled_annotations"}
_COLUMNS = [
    f"tasks:{name}"
    for name in ("id", "annotators", "annotations_results", "predictions_results", "cancelled_annotations")
]
_ANNOTATIONS = "filter:tasks:annotations_ids"
_WIDTHS = {"tasks:annotations_results": 320, "tasks:predictions_results": 480}
_TEXT_WIDTH = 420
# Their scores end at the last place's; of a hundred million places in the tail no other one lies so near to it.
_BAND = 1e-9
# A label that is as likely as it was to within this, or a confidence, is not worth a request.
_LIKELY_STEP, _SURE_STEP = 0.02, 0.05
# More connections than this do not make Label Studio faster on two cores.
_CONNECTIONS = 4
# No facts and no figures are these.
_NEVER = (-1, "")


@dataclass
class State:
    """What was made of second looks in Label Studio, as Redis keeps it."""

    tabs: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By kind: a tab's id, and its filters as they were last written. The id 0: somebody deleted it, and wants none."""
    written: dict[str, Look] = field(default_factory=dict)
    """By task: what was written of it."""
    suspected: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """By task that was suspected: when it was annotated last, and its label."""
    seen: tuple[int, str] = _NEVER
    """The facts, and what the figures rested on, when all of this was up to date."""

    @classmethod
    def of(cls, project: Project) -> "State":
        """What is remembered of a project."""
        return records.fill(cls, project.tabs) or cls()

    def is_shown(self, kind: str) -> bool:
        """Whether there is a tab of this kind."""
        return bool(self.tabs.get(kind, (0, ""))[0])

    def keep(self, project: Project) -> None:
        """Remember it."""
        project.set_tabs(asdict(self))


def refresh(project: Project, published: Published, label_studio: LabelStudio, stop: Callable[[], bool]) -> bool:
    """Bring the tabs of a project up to date, until somebody says `stop`; returns whether they are.

    A tab is changed only where its tasks are others, and a prediction where what is thought of its task is.
    """
    state, now = State.of(project), (project.facts, project.judged)
    config, record = label_config.parse_or_none(project.info.label_config), project.round
    if state.seen == now or config is None or record is None:
        return True
    annotations = project.annotations()
    labels = settle(annotations, config)
    found = SecondLooks(annotations, labels, config, project.rules, project.opinions())
    for task, (at, label) in state.suspected.items():
        named = config.names(labels[int(task)]) if int(task) in labels else None
        if named == label and found.updated_at(int(task)) > at:
            project.confirm(int(task), label)
    looks: dict[Kind, list[Look]] = {
        "suspected": found.suspected(record.suspected, project.confirmed()),
        "disputed": found.disputed(),
        "twins": found.twins(record.contradicted),
        "passed": found.passed(
            project.postponed(), set(labels).union(*(settle(annotations, question) for question in config.others))
        ),
    }
    state.suspected = {
        str(look.task): (found.updated_at(look.task), config.names(labels[look.task])) for look in looks["suspected"]
    }
    tabs = _Tabs(project, label_studio, config, state)
    # What somebody corrected leaves at once; the order of the others has time.
    for kind in KINDS:
        tabs.show(kind, looks[kind])
    listed = [look for kind in KINDS if kind != "passed" and state.is_shown(kind) for look in looks[kind]]
    if not tabs.write(listed, published, stop):
        return False
    state.seen = now
    state.keep(project)
    return True


def is_fresh(project: Project) -> bool:
    """Whether the tabs tell of all facts and of the newest figures."""
    return State.of(project).seen == (project.facts, project.judged)


def look_after(project: Project, label_studio: LabelStudio) -> None:
    """See what people did to the tabs: a deleted one is not made again, one with other tasks is to be written anew."""
    state = State.of(project)
    if not any(map(state.is_shown, KINDS)):
        return
    there = {int(tab["id"]): tab["data"] for tab in label_studio.tabs(project.id)}
    for kind, (tab, filters) in state.tabs.items():
        if tab and tab not in there:
            state.tabs[kind] = (0, "")
        elif tab and (there[tab].get("title"), _dumped(there[tab].get("filters"))) != (TITLES.get(kind), filters):
            state.tabs[kind], state.written = (tab, ""), {}
        else:
            continue
        state.seen = _NEVER
    state.keep(project)


def want_again(project: Project) -> None:
    """Let tabs that somebody deleted be made again."""
    state = State.of(project)
    if any(not tab for tab, _ in state.tabs.values()):
        state.tabs = {kind: tab for kind, tab in state.tabs.items() if tab[0]}
        state.seen = _NEVER
        state.keep(project)


def remove(project: Project, label_studio: LabelStudio) -> list[str]:
    """Delete the tabs that were made; returns a sentence for each."""
    changes = []
    for tab in label_studio.tabs(project.id):
        title = tab["data"].get("title")
        if title in TITLES.values():
            label_studio.delete_tab(int(tab["id"]))
            changes.append(f"Deleted the tab {title!r}.")
    return changes


@dataclass(frozen=True)
class _Tabs:
    """The tabs of one project, and the predictions of what is in them."""

    project: Project
    label_studio: LabelStudio
    config: LabelConfig
    state: State

    def show(self, kind: Kind, looks: Sequence[Look]) -> None:
        """Let a tab have these tasks; it is made when there are any."""
        tab, written = self.state.tabs.get(kind, (None, ""))
        filters = _filters(looks)
        if tab == 0 or written == _dumped(filters) or (tab is None and not looks):
            return
        there = self.label_studio.tabs(self.project.id)
        named = [one for one in there if one["data"].get("title") == TITLES[kind]]
        ours = next((one for one in named if one["id"] == tab), named[0] if named else None)
        if ours is not None:
            # Columns and order stay as people have set them.
            saved = self._save(int(ours["id"]), {**ours["data"], "filters": filters})
        elif tab is None or any(one["id"] == tab for one in there):
            saved = self._make(kind, filters, is_first=not there)
        else:
            saved = 0
        self.state.tabs[kind] = (saved, _dumped(filters))
        self.state.keep(self.project)

    def write(self, looks: Iterable[Look], published: Published, stop: Callable[[], bool]) -> bool:
        """Write the order of tasks and what is thought of them, the most doubtful first; returns whether all is."""
        wanted, state = {str(look.task): look for look in looks}, self.state
        state.written = {task: was for task, was in state.written.items() if task in wanted}
        new = [look for task, look in wanted.items() if not _is_like(look, state.written.get(task))]
        new.sort(key=lambda look: look.likely)
        if not new:
            return True
        self._take_from_order({look.task for look in new}, published)
        ids = self.project.predictions.get([look.task for look in new])
        with ThreadPoolExecutor(_CONNECTIONS) as threads:
            for begin in range(0, len(new), _CONNECTIONS):
                if begin and stop():
                    return False
                batch = new[begin : begin + _CONNECTIONS]
                list(threads.map(lambda look: self._write(look, ids.get(look.task)), batch))
                state.written |= {str(look.task): look for look in batch}
                state.keep(self.project)
        return True

    def _save(self, tab: int | None, data: Mapping[str, Any]) -> int:
        return self.label_studio.save_tab(tab, self.project.id, data)

    def _make(self, kind: Kind, filters: Mapping[str, Any], *, is_first: bool) -> int:
        columns = self.label_studio.columns(self.project.id)
        usual = {mode: _hidden(columns, mode) for mode in ("explore", "labeling")}
        if is_first:
            self._save(None, {"title": _DEFAULT, "hiddenColumns": usual})
        # Of the data those that the label config shows.
        texts = [_path(column) for column in columns if column.get("parent") and _is_visible(column, "labeling")]
        hidden = [path for path in map(_path, columns) if path not in {*_COLUMNS, *texts, "tasks:data"}]
        return self._save(
            None,
            {
                "title": TITLES[kind],
                "filters": filters,
                "ordering": [_ORDER[kind]],
                "hiddenColumns": {**usual, "explore": hidden},
                "columnsWidth": {**_WIDTHS, **dict.fromkeys(texts, _TEXT_WIDTH)},
            },
        )

    def _take_from_order(self, tasks: Collection[int], published: Published) -> None:
        """Let nobody believe that these tasks still have their places, should they lose their labels."""
        if published.is_newest(self.project):
            published.front = [entry for entry in published.front if entry.task not in tasks]
        else:
            self.project.begin_publication()

    def _write(self, look: Look, prediction: int | None) -> None:
        body: dict[str, Any] = {"score": TAIL_HIGH - _BAND * (1 - look.likely)}
        if look.thinks is not None:
            # What stands first is what a narrow column shows.
            why = {"meta": {"text": [look.why(self.config)]}}
            body["result"] = [{**why, **item} for item in self.config.result(look.thinks, look.sure)]
        if prediction is None:
            found = self.label_studio.predictions(task=look.task)
            prediction = next((int(row["id"]) for row in found if row.get("model_version") == MODEL_VERSION), None)
        try:
            if prediction is None:
                ours = {"task": look.task, "project": self.project.id, "model_version": MODEL_VERSION, "result": []}
                prediction = self.label_studio.create_prediction({**ours, **body})
            else:
                self.label_studio.update_prediction(prediction, body)
            self.project.predictions.put({look.task: prediction})
        except NotFoundError:
            # The next comparison finds out whether it is the task that is gone.
            self.project.predictions.delete([look.task])


def _filters(looks: Sequence[Look]) -> dict[str, Any]:
    """What lets a tab have exactly these tasks.

    The interface knows no filter of a list of numbers, and does not load where there is one; but it has one that holds
    ids of annotations as a text.
    """
    annotations = sorted(look.annotation for look in looks if look.annotation)
    items: list[dict[str, Any]] = []
    if annotations:
        listed = ", ".join(map(str, annotations))
        items.append({"filter": _ANNOTATIONS, "operator": "contains", "type": "String", "value": listed})
    # Nobody annotated what was postponed; and no task has the number 0.
    tasks = sorted(look.task for look in looks if not look.annotation) or ([] if annotations else [0])
    items += [{"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": task} for task in tasks]
    return {"conjunction": "or", "items": items}


def _is_like(look: Look, before: Look | None) -> bool:
    """Whether what was written of a task still tells what is thought of it."""
    return (
        before is not None
        and replace(look, likely=before.likely, sure=before.sure) == before
        and abs(look.likely - before.likely) < _LIKELY_STEP
        and abs(look.sure - before.sure) < _SURE_STEP
    )


def _path(column: Mapping[str, Any]) -> str:
    """How a tab names a column."""
    return f"tasks:{column['parent']}.{column['id']}" if column.get("parent") else f"tasks:{column['id']}"


def _is_visible(column: Mapping[str, Any], mode: str) -> bool:
    return bool(column.get("visibility_defaults", {}).get(mode, True))


def _hidden(columns: Iterable[Mapping[str, Any]], mode: str) -> list[str]:
    """The columns that Label Studio does not show by itself."""
    return [_path(column) for column in columns if not _is_visible(column, mode)]


def _dumped(filters: object) -> str:
    return json.dumps(filters, sort_keys=True)
