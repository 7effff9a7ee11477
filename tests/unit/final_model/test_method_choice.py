"""Which method trains where labels are few, and how good it is said to be."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from rich.console import Console

from prepal_workers.final_model.judging import METHODS, Training, judge
from prepal_workers.labelled.read import read_labelled
from prepal_workers.training.measures import right
from prepal_workers.training.recipe import Method, Wishes


class ByLot(Training):
    """Three methods that know nothing, each in its own way."""

    def run(self, places: Any, name: str, method: Method | None = None, *_: Any, **__: Any) -> Any:
        del places, name
        rng = np.random.default_rng((self.seed, METHODS.index(cast(Method, method))))
        says = dict(zip(self.data.texts, rng.normal(size=(len(self.data.texts), 2)).astype(np.float32), strict=True))
        model = SimpleNamespace(logits=lambda texts: np.array([says[text] for text in texts]))
        return SimpleNamespace(interrupted=False, model=model)


def test_the_best_of_several_methods_is_not_said_to_be_better_than_it_is(tmp_path: Path) -> None:
    accuracies, best = [], []
    for seed in range(80):
        labels = np.random.default_rng((seed, 9)).permutation(60) % 2
        rows = [{"text": f"text {n}", "label": "ab"[label]} for n, label in enumerate(labels)]
        data = read_labelled("\n".join(map(json.dumps, rows)).encode(), "rows.jsonl")
        judged = judge(ByLot(data, "model", tmp_path / str(seed), Console(quiet=True), Wishes(), seed, resume=False))
        accuracies.append(right(judged.logits, data.labels, "one").mean())
        best.append(judged.scores[judged.method])
    assert np.mean(best) > 0.53
    assert abs(np.mean(accuracies) - 0.5) < 0.02


class EpochsByLot(Training):
    """A training whose epochs know nothing, each in its own way."""

    def run(self, places: Any, name: str, *_: Any, validation: Any = None, **__: Any) -> Any:
        del places, name
        rng = np.random.default_rng(self.seed)
        logits = {epoch: rng.normal(size=(len(validation), 2)).astype(np.float32) for epoch in range(9)}
        recipe = SimpleNamespace(method="fine-tune")
        # As one that Ctrl-C ended: nothing of it is kept.
        return SimpleNamespace(interrupted=True, logits=logits, best_epoch=1, recipe=recipe, epochs=[])


def test_the_best_of_several_epochs_is_not_said_to_be_better_than_it_is(tmp_path: Path) -> None:
    accuracies, best = [], []
    for seed in range(80):
        labels = np.random.default_rng((seed, 9)).permutation(150) % 2
        rows = [{"text": f"text {n}", "label": "ab"[label]} for n, label in enumerate(labels)]
        data = read_labelled("\n".join(map(json.dumps, rows)).encode(), "rows.jsonl")
        training = EpochsByLot(data, "model", tmp_path / str(seed), Console(quiet=True), Wishes(), seed, resume=False)
        judged = judge(training)
        places = np.flatnonzero(judged.held_back)
        accuracies.append(right(judged.logits, data.labels[places], "one").mean())
        every = training.run(None, "", validation=places).logits.values()
        best.append(max(right(logits, data.labels[places], "one").mean() for logits in every))
    assert np.mean(best) > 0.6
    assert abs(np.mean(accuracies) - 0.5) < 0.03
