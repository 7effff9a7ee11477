"""The paper's experiments, each by one word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prepal_workers.encoder.cached import cut_name
from prepal_workers.model.word_counts import WORD_COUNTS
from prepal_workers.simulate.successors import OWN_NAMES

# Stands for the encoder of the settings in what follows.
_ENCODER = "ENCODER"
_FIRST_LAYERS = 3


@dataclass(frozen=True)
class Preset:
    """An experiment.

    Attributes:
        help: what it shows.
        options: what it sets unless the command line does.
        arms: what is compared, as fields of `Setting`.
    """

    help: str
    options: Mapping[str, Any]
    arms: Sequence[Mapping[str, Any]]

    def arms_for(self, encoder: str) -> list[dict[str, Any]]:
        """Return the arms with the encoder's name filled in."""
        filled = {_ENCODER: encoder, _CUT: cut_name(encoder, _FIRST_LAYERS)}
        return [{name: filled.get(value, value) for name, value in arm.items()} for arm in self.arms]


_CUT = "CUT"
PRESETS: Mapping[str, Preset] = {
    "baseline": Preset(
        "PRepAL against random labels and against fine-tuning in every round (AL+FT)",
        {"pool": 2000, "budget": 200, "batch_size": [20], "seeds": 3},
        [
            {"strategy": "auto", "final_model": _ENCODER},
            {"strategy": "random", "final_model": _ENCODER},
            {"strategy": "margin", "classifier": "finetune", "label_names": False, "final_model": _ENCODER},
        ],
    ),
    "adaptation": Preset(
        "the encoder as it is, trained on the labels as they come, or fine-tuned in every round (AL+FT)",
        {"pool": 2000, "budget": 300, "batch_size": [10], "seeds": 3},
        [
            {"strategy": "auto"},
            {"strategy": "auto", "adapt": True},
            {"strategy": "margin", "classifier": "finetune", "label_names": False},
        ],
    ),
    "transfer": Preset(
        "labels that were acquired with another encoder, or at random, serve this one",
        {"pool": 2000, "budget": 200, "batch_size": [20], "seeds": 3, "successor": OWN_NAMES},
        [
            {"strategy": "auto", "final_model": _ENCODER},
            {"strategy": "auto", "encoder": _CUT, "judge": _ENCODER, "final_model": _ENCODER},
            {"strategy": "auto", "encoder": WORD_COUNTS, "judge": _ENCODER, "final_model": _ENCODER},
            {"strategy": "random", "final_model": _ENCODER},
        ],
    ),
    "batch-size": Preset(
        "one label at a time, ten, or a hundred",
        {},
        [{"strategy": "auto", "batch_size": size} for size in (1, 10, 100)] + [{"strategy": "random"}],
    ),
    "linearity": Preset(
        "the logistic regression against a network with a hidden layer",
        {},
        [
            {"strategy": strategy, "classifier": classifier, "label_names": False}
            for strategy in ("auto", "random")
            for classifier in ("logistic", "network")
        ],
    ),
    "mismatch": Preset(
        "a poor encoder: word counts",
        {},
        [
            {"strategy": strategy, "encoder": encoder}
            for encoder in (WORD_COUNTS, _ENCODER)
            for strategy in ("auto", "margin", "random")
        ],
    ),
}
