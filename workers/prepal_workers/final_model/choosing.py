"""Chooses among methods, epochs, and whether beliefs help, and says what the choice itself is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prepal.learning.classifiers.decisions import HowMany
from prepal.learning.classifiers.labels import Labels
from prepal_workers.training.measures import fit_temperature, log_loss, right, score
from prepal_workers.training.recipe import Method

# Few texts judge, and beliefs seldom harm: they are taken unless the labels are e³, or twenty times, as likely without.
_BELIEFS_AHEAD = 3.0


class Tried(NamedTuple):
    """One model that was tried: by which method, after which epoch, and whether it learnt from beliefs."""

    method: Method
    epoch: int = 0
    believed: bool = False

    @property
    def name(self) -> str:
        """What it is called where methods are compared."""
        return "beliefs" if self.believed else self.method


@dataclass(frozen=True)
class Helped:
    """Whether beliefs helped, as the texts say that the model is judged by.

    Attributes:
        helped: whether the model learns from them.
        texts: of how many texts the judged model learnt beliefs.
        teacher: whose vectors the teacher sees.
        teacher_accuracy: how often the teacher itself is right.
        accuracy: with beliefs, and without.
        log_loss: with beliefs, and without, at the best temperature.
    """

    helped: bool
    texts: int
    teacher: str
    teacher_accuracy: float
    accuracy: dict[str, float]
    log_loss: dict[str, float]

    @classmethod
    def of(
        cls,
        tried: Mapping[Tried, NDArray[np.float32]],
        teacher_logits: NDArray[np.float32],
        labels: Labels,
        each: HowMany,
        texts: int,
        teacher: str,
    ) -> "Helped":
        """What came of beliefs, where models were tried with and without, by logits `(n, k)` of n texts."""
        arms = {f"{how} them": _best_score(tried, labels, each, believed=how == "with") for how in ("with", "without")}
        said = {how: tried[one] for how, one in arms.items() if one is not None}
        return cls(
            helped=best(tried, labels, each).believed,
            texts=texts,
            teacher=teacher,
            teacher_accuracy=float(right(teacher_logits, labels, each).mean()),
            accuracy={how: float(right(logits, labels, each).mean()) for how, logits in said.items()},
            log_loss={how: _surprise(logits, labels) for how, logits in said.items()},
        )

    def __str__(self) -> str:
        """A sentence."""
        figures = ", ".join(
            f"accuracy {self.accuracy[how]:.3f} and log loss {self.log_loss[how]:.3f} {how}" for how in self.accuracy
        )
        return f"Beliefs {'help' if self.helped else 'do not help, and are left out'}: {figures}."


def best(tried: Mapping[Tried, NDArray[np.float32]], labels: Labels, each: HowMany) -> Tried:
    """The best by logits `(n, k)` of n texts: with beliefs, unless the labels are much more likely without."""
    plain, believing = (_best_score(tried, labels, each, believed=believed) for believed in (False, True))
    if believing is None or plain is None:
        found = plain or believing
        assert found is not None
        return found
    ahead = _surprise(tried[plain], labels) - _surprise(tried[believing], labels)
    return believing if ahead * labels.size > -_BELIEFS_AHEAD else plain


def of_chosen(
    tried: Mapping[Tried, NDArray[np.float32]], labels: Labels, each: HowMany, parts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of each part what that says which is best for the others: the best of many is so by luck, too."""
    found = np.empty_like(next(iter(tried.values())))
    for part in np.unique(parts):
        asked = parts == part
        others = asked if asked.all() else ~asked
        chosen = best({one: said[others] for one, said in tried.items()}, labels[others], each)
        found[asked] = tried[chosen][asked]
    return found


def _best_score(
    tried: Mapping[Tried, NDArray[np.float32]], labels: Labels, each: HowMany, *, believed: bool
) -> Tried | None:
    scores = {one: score(said, labels, each) for one, said in tried.items() if one.believed == believed}
    return max(scores, key=lambda one: scores[one], default=None)


def _surprise(logits: NDArray[np.float32], labels: Labels) -> float:
    """Log loss at the temperature at which it is least, as it will be delivered."""
    return log_loss(logits / fit_temperature(logits, labels), labels)
