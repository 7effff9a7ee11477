"""Which texts are held back to judge a model by."""

import numpy as np
from numpy.typing import NDArray

from prepal.errors import PrepalError
from prepal.learning.quality.folds import deal
from prepal_workers.labelled.data import LabelledData

# One text in five is held back to judge by.
_HELD_BACK = 5
# With fewer audit tasks, or when hardly anything would be left to learn from, texts are drawn instead.
_LEAST_AUDITS, _MOST_AUDIT_SHARE = 30, 0.5


def split(data: LabelledData, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str]:
    """Which texts `(n,)` are held back to judge by, which ones are learnt from meanwhile, and how they were chosen.

    Audit tasks were drawn at random, so what they say holds for all texts. Where they are too few, a fifth of every
    class is drawn. No class is left without an example to learn from, and no text is learnt from that equals one that
    is held back.

    Raises:
        PrepalError: there are too few labels, or too few different texts.
    """
    marks, groups = data.marks, data.groups
    if audits_suffice(data):
        held_back, how = data.is_audit.copy(), "the audit tasks"
    else:
        parts = deal(marks, groups, _HELD_BACK, np.random.default_rng(seed))
        sizes = np.bincount(parts, minlength=_HELD_BACK)
        held_back = parts == np.abs(sizes - len(parts) / _HELD_BACK).argmin()
        how = "drawn at random within each class"
    for label in range(marks.shape[1]):
        if not marks[~np.isin(groups, groups[held_back]), label].any():
            held_back &= ~np.isin(groups, groups[marks[:, label]])
    if not held_back.any():
        raise PrepalError(
            f"{len(marks)} labels of {len(np.unique(groups))} different texts are too few to hold some back to judge "
            "by: label more."
        )
    return held_back, ~np.isin(groups, groups[held_back]), how


def audits_suffice(data: LabelledData) -> bool:
    """Whether the audit tasks can judge: there are some, and enough other texts to learn from."""
    return bool(_LEAST_AUDITS <= data.is_audit.sum() <= _MOST_AUDIT_SHARE * len(data.texts))
