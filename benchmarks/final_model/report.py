"""The section of RESULTS.md, from what was measured."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.final_model.arms import DEFAULTS, MAJORITY, OURS, PLAIN, TUNED, WANTED_ACCURACY
from benchmarks.final_model.trials import BATCH, FEW, MAIN, MANY, OTHERS, TRIALS, WHOLE
from benchmarks.sections import GOAL_HEADER, Goal, table, told, write_section
from benchmarks.storage import FOLDER, Lines, Record, read_json

FILE = "finetune.json"
MEASURED = Lines(FOLDER / "finetune.jsonl", ("set", "labels", "seed", "arm"))
PACKAGES = ("prepal-label-studio", "torch", "transformers", "accelerate", "numpy", "scikit-learn")
_PROVED_ACCURACY, _TREC_GAIN, _LIMIT_S = 0.94, 0.03, 240.0


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    stored = read_json(FILE)
    measured = _by_trial()
    if stored is None or not measured:
        return []
    environment = stored["environment"]
    goals = _goals(measured)
    parts = [
        "## The final model",
        f"`make bench-finetune DATA=FOLDER` · {told(environment, PACKAGES)}",
        f"`auto` chooses from the first {environment['pool']:,} training texts ({WHOLE}: from all), in batches of "
        f"{BATCH}; accuracy and macro-F1 are of the first {environment['texts']:,} test texts, mean over the seeds. "
        "Every row of a table learnt from the same labels: always the most frequent answer; scikit-learn's "
        "LogisticRegression(C=10) on the vectors of all-MiniLM-L6-v2; the classifier of the live loop on these "
        "vectors, which also knows the names of the choices and the texts without a label; `prepal finetune` of "
        "all-MiniLM-L6-v2, which knows the labels alone; and transformers' Trainer as it comes. Where a text may have "
        "several labels, accuracy is of all its labels together, and all but the live loop give it one at least.",
        table(GOAL_HEADER, [goal.row() for goal in goals]),
    ]
    for labels, title in ((MANY, f"{MANY} labels"), (FEW, f"{FEW} labels")):
        if any(measured.get((name, n), {}).get(TUNED) for name, n in TRIALS if n == labels):
            parts += [f"### {title}", _table(measured, labels)]
    parts += [f"### Sure at {WANTED_ACCURACY:.0%}".replace("%", " %"), _sure_table(measured)]
    write_section("\n\n".join(parts), "benchmarks.final_model")
    return goals


# (set, labels) → arm → what each seed gave
ByTrial = dict[tuple[str, int], dict[str, list[Record]]]


def _by_trial() -> ByTrial:
    found: ByTrial = defaultdict(lambda: defaultdict(list))
    for record in MEASURED.read().values():
        found[record["set"], record["labels"]][record["arm"]].append(record)
    for arms in found.values():
        # An interrupted run may have some of a seed only.
        shared = set.intersection(*({record["seed"] for record in records} for records in arms.values()))
        for arm, records in arms.items():
            arms[arm] = [record for record in records if record["seed"] in shared]
    return found


def _mean(records: Sequence[Record], what: str) -> float:
    return statistics.fmean(record[what] for record in records)


def _goals(measured: ByTrial) -> list[Goal]:
    goals = []
    for name, labels in TRIALS:
        of = measured.get((name, labels), {})
        if not of.get(TUNED):
            continue
        what = "macro_f1" if name in OTHERS else "accuracy"
        tuned = _mean(of[TUNED], what)
        # Few labels: no worse than on the same vectors.
        rivals = (PLAIN,) if labels == FEW else (PLAIN, OURS)
        best = max(_mean(of[rival], what) for rival in rivals)
        wanted = _TREC_GAIN if (name, labels) == ("trec6", MANY) else 0.0
        beyond = (
            "the logistic regression" if labels == FEW else "the better logistic regression, the live loop's or not"
        )
        said = f"{name}, {labels} labels, {what.replace('_f1', '-F1')}: beyond {beyond}"
        goals.append(Goal(said, tuned - best, wanted, at_least=True, digits=4))
        for rival, words in ((DEFAULTS, "Trainer's defaults"), (MAJORITY, "the most frequent answer")):
            if of.get(rival) and (rival == DEFAULTS or name in OTHERS):
                more = tuned - _mean(of[rival], what)
                goals.append(Goal(f"{name}, {labels} labels: beyond {words}", more, 0.0, at_least=True, digits=4))
    for name in MAIN:
        if tuned := measured.get((name, MANY), {}).get(TUNED):
            slowest = max(record["training_s"] for record in tuned)
            goals.append(Goal(f"{name}, {MANY} labels: seconds of the slowest seed", slowest, _LIMIT_S, False, 0))
    sure = [record for of in measured.values() for record in of.get(TUNED, ()) if record["labels"] == MANY]
    if total := sum(record["sure"] for record in sure):
        right = sum(record["sure_right"] for record in sure) / total
        said = f"accuracy of what is sure at {WANTED_ACCURACY}, all sets and seeds together"
        goals.append(Goal(said, right, _PROVED_ACCURACY, at_least=True, digits=4))
    return goals


def _table(measured: ByTrial, labels: int) -> str:
    arms = {MAJORITY: "most frequent", PLAIN: "logistic regression", OURS: "live loop", TUNED: "**finetune**"}
    arms |= {DEFAULTS: "Trainer's defaults"} if labels == MANY else {}
    rows = []
    for name, n in TRIALS:
        of = measured.get((name, n), {})
        if n != labels or not of.get(TUNED):
            continue
        for what in ("accuracy", "macro_f1"):
            shown = [f"{_mean(of[arm], what):.3f}" if of.get(arm) else "–" for arm in arms]
            more = [f"{_mean(of[TUNED], 'cpu_s'):.0f}", str(len(of[TUNED]))]
            rows.append([name, what.replace("_f1", "-F1"), *shown, *more])
    return table(["set", "measure", *arms.values(), "finetune, CPU s", "seeds"], rows, text_columns=2)


def _sure_table(measured: ByTrial) -> str:
    rows = []
    for name, n in TRIALS:
        records = measured.get((name, n), {}).get(TUNED, [])
        if n != MANY or not records:
            continue
        sure, right = sum(r["sure"] for r in records), sum(r["sure_right"] for r in records)
        rows.append(
            [
                name,
                f"{sure / len(records):.0f}",
                f"{right / sure:.3f}" if sure else "–",
                f"{_mean(records, 'calibration'):.3f}",
            ]
        )
    return table(["set", "sure texts of each test", "right of these", "calibration error of all"], rows)
