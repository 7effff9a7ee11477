"""Compares the final model with a logistic regression and with transformers' own training, on labels chosen by auto."""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer
from transformers import TrainingArguments as Arguments

from benchmarks import results
from benchmarks.results import GOAL_HEADER, Goal, Lines, Record, end, table, told
from prepal.learning.classifiers.decisions import HowMany, how_many
from prepal.learning.classifiers.label_names import name_text
from prepal.learning.classifiers.labels import Labels
from prepal.settings import Settings
from prepal_workers.encoder.weights import source
from prepal_workers.final_model.finetune import finetune
from prepal_workers.final_model.predict import Predictor
from prepal_workers.labelled.fields import Text
from prepal_workers.labelled.read import read_labelled
from prepal_workers.model.sequence_model import SequenceModel
from prepal_workers.simulate.dataset import read
from prepal_workers.simulate.encoders import embed
from prepal_workers.simulate.experiment import Setting, Vectors, run
from prepal_workers.training import measures

ENCODER = str(Settings.model_fields["prepal_encoder"].default)
BATCH, MANY, FEW = 10, 300, 20
_COUNTS = (FEW, MANY)
# What is measured: on which sets, with how many labels.
MAIN = ("ag_news", "trec6", "sst2_sentences")
OTHERS = ("sms_spam", "qnli_dev", "goemotions")
TRIALS = [(name, n) for n in (MANY, FEW) for name in MAIN] + [(name, MANY) for name in OTHERS]
MAJORITY, PLAIN, OURS, TUNED, DEFAULTS = ("majority", "logistic", "ours", "finetune", "trainer")
WANTED_ACCURACY, PROVED_ACCURACY, TREC_GAIN, LIMIT_S = 0.95, 0.94, 0.03, 240.0

LABELS = Lines(results.FOLDER / "finetune-labels.jsonl", ("set", "seed"))
MEASURED = Lines(results.FOLDER / "finetune.jsonl", ("set", "labels", "seed", "arm"))
_PACKAGES = ("prepal-label-studio", "torch", "transformers", "accelerate", "numpy", "scikit-learn")
# The same as that of benchmarks.choosing.
_CACHE = ".prepal/bench-vectors"
# Its texts are short, so that its whole training set is embedded in a minute.
_WHOLE = "trec6"


@dataclass(frozen=True)
class Trial:
    """One set, with the labels that one seed chose of it."""

    name: str
    labels: int
    seed: int
    names: Sequence[str]
    learnt: list[Text]
    truth: Labels
    tested: list[Text]
    test_truth: Labels
    vectors: Vectors
    picked: NDArray[np.int64]

    @property
    def each(self) -> HowMany:
        """How many labels a text has."""
        return how_many(self.truth)


@click.group()
def main() -> None:
    """Compare the final model with its alternatives.

    What was measured before is kept: delete results/finetune.jsonl after a change of the recipe.
    """


@main.command("run")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--seeds", default=3, show_default=True, help="of choosing and of training, on each set")
@click.option("--texts", default=1000, show_default=True, help="of the test set that are measured on: the first ones")
@click.option("--pool", default=3000, show_default=True, help="texts to choose from: the first ones")
@click.option("--only", default="", help="only sets that have this in their name")
def run_all(data: Path, seeds: int, texts: int, pool: int, only: str) -> None:
    """Run what is missing; DATA has a folder for each set, with train.jsonl and test.jsonl."""
    console = Console(stderr=True)
    results.FOLDER.mkdir(exist_ok=True)
    wanted = [(name, n, seed) for seed in range(seeds) for name, n in TRIALS if only in name]
    environment = {**results.environment(_PACKAGES), "seeds": seeds, "texts": texts, "pool": pool}
    results.write_json("finetune.json", {"environment": environment})
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), console=console) as p:
        bar = p.add_task("trials", total=len(wanted))
        for name, n, seed in wanted:
            p.update(bar, description=f"{name}, {n} labels, seed {seed}")
            _measure(data / name, n, seed, texts, pool)
            p.advance(bar)
    MEASURED.compact()
    end(write(), console)


@main.command("report")
def write_report() -> None:
    """Write RESULTS.md from what was measured before."""
    end(write(), Console(stderr=True))


def _measure(folder: Path, n: int, seed: int, texts: int, pool: int) -> None:
    known = MEASURED.read()
    arms = {MAJORITY: _majority, PLAIN: _plain, TUNED: _tuned}
    if n == MANY and folder.name in MAIN:
        arms[DEFAULTS] = _defaults
    missing = [arm for arm in arms if (folder.name, n, seed, arm) not in known]
    if not missing:
        return
    trial, own = _trial(folder, n, seed, texts, pool)
    about = {"set": folder.name, "labels": n, "seed": seed}
    MEASURED.append({**about, "arm": OURS, **own})
    for arm in missing:
        began = time.perf_counter()
        found, more = arms[arm](trial)
        seconds = round(time.perf_counter() - began, 1)
        MEASURED.append({**about, "arm": arm, **_scores(found, trial), "seconds": seconds, **more})


def _trial(folder: Path, n: int, seed: int, texts: int, pool: int) -> tuple[Trial, Record]:
    """A trial, and how good our own logistic regression was on its labels."""
    dataset = read(folder / "train.jsonl", folder / "test.jsonl")
    first, tested = (np.arange(len(part.texts)) for part in (dataset.train, dataset.test))
    dataset = replace(
        dataset,
        train=dataset.train if folder.name == _WHOLE else dataset.train.at(first[:pool]),
        test=dataset.test.at(tested[:texts]),
    )
    names = [name_text(choice) for choice in dataset.choices]
    vectors = Vectors(*(embed(part, ENCODER, _CACHE) for part in (dataset.train.texts, dataset.test.texts, names)))
    if (folder.name, seed) not in LABELS.read():
        # The first labels do not depend on how many there will be.
        rows = list(
            run(Setting("auto", ENCODER, batch_size=BATCH, budget=MANY, seed=seed), dataset, {ENCODER: vectors})
        )
        own = {str(r["labels"]): {"accuracy": r["accuracy"], "macro_f1": r["macro_f1"]} for r in rows}
        picked = [place for row in rows for place in row["picked"]]
        LABELS.append(
            {"set": folder.name, "seed": seed, "picked": picked, "own": {str(c): own[str(c)] for c in _COUNTS}}
        )
    chosen = LABELS.read()[folder.name, seed]
    picked = np.array(chosen["picked"][:n], np.int64)
    train_texts, test_texts = _texts(folder / "train.jsonl"), _texts(folder / "test.jsonl")
    trial = Trial(
        folder.name,
        n,
        seed,
        dataset.choices,
        [train_texts[place] for place in picked],
        dataset.train.labels[picked],
        test_texts[:texts],
        dataset.test.labels,
        vectors,
        picked,
    )
    return trial, chosen["own"][str(n)]


def _texts(path: Path) -> list[Text]:
    """Texts of a set; pairs are pairs."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [(row["text_a"], row["text_b"]) if "text_a" in row else row["text"].strip() for row in rows]


Answer = tuple[NDArray[np.float32], Record]


def _majority(trial: Trial) -> Answer:
    if trial.truth.ndim == 2:
        answers, counts = np.unique(trial.truth, axis=0, return_counts=True)
        row = np.where(answers[counts.argmax()], 1.0, -1.0)
    else:
        row = np.bincount(trial.truth, minlength=len(trial.names)).astype(float)
    return np.tile(row.astype(np.float32), (len(trial.tested), 1)), {}


def _plain(trial: Trial) -> Answer:
    """scikit-learn's logistic regression on the encoder's vectors, C = 10."""
    seen, tested = trial.vectors.train[trial.picked], trial.vectors.test
    found = np.full((len(tested), len(trial.names)), -1e3, np.float32)
    if trial.truth.ndim == 1:
        model = LogisticRegression(C=10, max_iter=1000).fit(seen, trial.truth)
        found[:, model.classes_] = model.predict_log_proba(tested)
        return found, {}
    for column in np.flatnonzero(trial.truth.any(axis=0)):
        if trial.truth[:, column].all():
            found[:, column] = 1.0
        else:
            model = LogisticRegression(C=10, max_iter=1000).fit(seen, trial.truth[:, column])
            found[:, column] = model.decision_function(tested)
    return found, {}


def _tuned(trial: Trial) -> Answer:
    """`prepal finetune` on a file of the labels, and `prepal predict --threshold 0.95`."""
    label = (
        [[trial.names[c] for c in np.flatnonzero(row)] for row in trial.truth]
        if trial.truth.ndim == 2
        else [trial.names[c] for c in trial.truth]
    )
    fields = ("text_a", "text_b") if isinstance(trial.learnt[0], tuple) else ("text",)
    rows = [
        {**dict(zip(fields, text if isinstance(text, tuple) else (text,), strict=True)), "label": one}
        for text, one in zip(trial.learnt, label, strict=True)
    ]
    data = read_labelled("".join(json.dumps(row) + "\n" for row in rows).encode(), trial.name)
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.perf_counter(), time.process_time()
        said = finetune(data, ENCODER, Path(folder) / "model", Console(quiet=True), seed=trial.seed)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        predictor = Predictor(Path(folder) / "model")
        logits = SequenceModel.load(Path(folder) / "model").logits(trial.tested)
        sure = predictor.predict(trial.tested, WANTED_ACCURACY).sure
    assert sure is not None
    found = np.full((len(trial.tested), len(trial.names)), -1e3, np.float32)
    found[:, [trial.names.index(name) for name in data.label_names]] = logits
    right = measures.right(found, trial.test_truth, trial.each)
    return found, {
        "training_s": round(took, 1),
        "cpu_s": round(cpu, 1),
        "best_epoch": said.best_epoch,
        "recipe": asdict(said.recipe),
        "sure": int(sure.sum()),
        "sure_right": int((sure & right).sum()),
        "calibration": measures.calibration_error(found, trial.test_truth, trial.each),
        "own_estimate": asdict(said.accuracy),
    }


def _defaults(trial: Trial) -> Answer:
    """Transformers' Trainer as it comes: 3 epochs, learning rate 5e-5, batches of 8."""
    tokenizer = AutoTokenizer.from_pretrained(source(ENCODER))
    torch.manual_seed(trial.seed)
    model = AutoModelForSequenceClassification.from_pretrained(source(ENCODER), num_labels=len(trial.names))
    encoded = tokenizer(list(trial.learnt), truncation=True)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], trial.truth, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = Arguments(
            output_dir=folder,
            seed=trial.seed,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        Trainer(model, arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)).train()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return SequenceModel.load(Path(folder)).logits(trial.tested), {}


def _scores(logits: NDArray[np.float32], trial: Trial) -> Record:
    return {
        "accuracy": round(float(measures.right(logits, trial.test_truth, trial.each).mean()), 4),
        "macro_f1": round(measures.macro_f1(logits, trial.test_truth, trial.each), 4),
    }


def write() -> list[Goal]:
    """Write the section of RESULTS.md; returns the goals of what was measured."""
    stored = results.read_json("finetune.json")
    measured = _by_trial()
    if stored is None or not measured:
        return []
    environment = stored["environment"]
    goals = _goals(measured)
    parts = [
        "## The final model",
        f"`make bench-finetune DATA=FOLDER` · {told(environment, _PACKAGES)}",
        f"`auto` chooses from the first {environment['pool']:,} training texts ({_WHOLE}: from all), in batches of "
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
    results.write_section("\n\n".join(parts), "benchmarks.finetuning")
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
        wanted = TREC_GAIN if (name, labels) == ("trec6", MANY) else 0.0
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
            goals.append(Goal(f"{name}, {MANY} labels: seconds of the slowest seed", slowest, LIMIT_S, False, 0))
    sure = [record for of in measured.values() for record in of.get(TUNED, ()) if record["labels"] == MANY]
    if total := sum(record["sure"] for record in sure):
        right = sum(record["sure_right"] for record in sure) / total
        said = f"accuracy of what is sure at {WANTED_ACCURACY}, all sets and seeds together"
        goals.append(Goal(said, right, PROVED_ACCURACY, at_least=True, digits=4))
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


if __name__ == "__main__":
    main()
