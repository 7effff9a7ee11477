"""A model of a few megabytes that counts words: fitted in seconds, and quick on any processor without torch."""

import copy
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer

from prepal.errors import PrepalError
from prepal_workers.labelled.fields import Text

WORD_COUNTS = "word-counts"
"""What stands for such a model where others have the name of an encoder."""
FILE = "word_counts.skops"
# scikit-learn's inverse regularisation, and more steps than it takes.
_C, _MOST_STEPS = 10.0, 1000
# Beliefs below this are rounding, and would be a row each.
_LEAST_BELIEF = 0.01
# Each label has this much of a text without words, so that one that no text has is possible and unlikely.
_EMPTY = 0.01
# ONNX knows these as letters and digits of any script.
_WORD = r"(?u)\w\w+"


def word_counter() -> TfidfVectorizer:
    """Return what tells which words of two texts or more a text has, weighted by how rare they are.

    How often it has them hardly says more, and skl2onnx does not damp that as scikit-learn does.
    """
    return TfidfVectorizer(binary=True, min_df=2, token_pattern=_WORD, dtype=np.float32)


class WordCounts:
    """Texts → logits, by their words.

    Attributes:
        pipeline: scikit-learn's: from texts to names of labels.
        label_names: the k labels, in the order of the logits.
        multilabel: whether a text may have several labels.
        on_read: is never called, as reading takes no time.
    """

    max_tokens = None

    def __init__(self, pipeline: Pipeline, label_names: Sequence[str], *, multilabel: bool) -> None:
        self.pipeline, self.label_names, self.multilabel = pipeline, tuple(label_names), multilabel
        self.on_read: Callable[[int, int], None] | None = None

    @classmethod
    def fit(
        cls,
        texts: Sequence[Text],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        *,
        others: Sequence[Text] = (),
        multilabel: bool = False,
    ) -> Self:
        """Fit a logistic regression on the counts; where a text may have several labels, one for each.

        Args:
            texts: n texts, or pairs of texts.
            targets: `(n, k)` float32, how likely a text has each of k labels.
            weights: `(n,)` float32, how much a text counts.
            others: texts that only say which words there are.
            multilabel: whether a text may have several labels.

        Raises:
            PrepalError: no word occurs in two texts.
        """
        counter = word_counter()
        try:
            counter.fit([_joined(text) for text in (*texts, *others)])
        except ValueError as error:
            raise PrepalError(f"{WORD_COUNTS} needs a word that occurs in two texts: take another --model.") from error
        counts = counter.transform([_joined(text) for text in texts])
        k = targets.shape[1]
        if multilabel:
            every = np.arange(2)
            found = OneVsRestClassifier(LogisticRegression())
            found.estimators_ = [
                _regression(counts, np.column_stack([1 - column, column]), weights, every) for column in targets.T
            ]
            found.classes_ = np.arange(k)
            found.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(np.eye(max(k, 2), k, dtype=np.int64))
        else:
            found = _regression(counts, targets, weights, np.arange(k))
        names = [str(label) for label in range(k)]
        return cls(Pipeline([("counter", counter), ("regression", found)]), names, multilabel=multilabel)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PrepalError: it cannot be read, or holds more than scikit-learn's own.
        """
        from skops.io import load

        try:
            said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            names = [said["id2label"][str(number)] for number in range(len(said["id2label"]))]
            return cls(load(folder / FILE), names, multilabel=bool(said["multilabel"]))
        except Exception as error:
            raise PrepalError(
                f"{folder} has no {FILE} that can be read ({error}): give a folder that `prepal finetune` wrote."
            ) from error

    @property
    def n_classes(self) -> int:
        """The number of labels, k."""
        return len(self.label_names)

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(one.coef_.size + one.intercept_.size for one in self._regressions)

    def logits(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Logits `(n, k)` float32."""
        if not len(texts):
            return np.empty((0, self.n_classes), np.float32)
        said = self.pipeline.decision_function([_joined(text) for text in texts])
        if self.multilabel:
            return np.asarray(said, np.float32).reshape(len(texts), self.n_classes)
        return np.asarray(np.column_stack([-said / 2, said / 2]) if said.ndim == 1 else said, np.float32)

    def predict_proba(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """Probabilities `(n, k)` float32; rows sum to 1 unless several labels may be right."""
        logits = self.logits(texts)
        return np.asarray(expit(logits) if self.multilabel else softmax(logits, axis=1), np.float32)

    def soften(self, temperature: float) -> None:
        """Divide all logits by a number, in the weights themselves."""
        for one in self._regressions:
            one.coef_, one.intercept_ = one.coef_ / temperature, one.intercept_ / temperature

    def save(self, folder: Path, label_names: Sequence[str]) -> None:
        """Write a folder that `load` reads, and a pipeline that scikit-learn's users do, with skops."""
        from skops.io import dump

        self.label_names = tuple(label_names)
        folder.mkdir(parents=True, exist_ok=True)
        if not self.multilabel:
            self.pipeline[-1].classes_ = np.array(self.label_names)
        dump(self.pipeline, folder / FILE)
        said = {"model_type": WORD_COUNTS, "multilabel": self.multilabel, "id2label": dict(enumerate(label_names))}
        (folder / "config.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")

    def in_lower_case(self) -> Pipeline:
        """The same pipeline for texts in lower case, which is all that ONNX counts the same on every machine."""
        counter = copy.copy(self.pipeline[0])
        counter.lowercase = False
        return Pipeline([("counter", counter), ("regression", self.pipeline[-1])])

    @property
    def _regressions(self) -> list[LogisticRegression]:
        last = self.pipeline[-1]
        return list(last.estimators_) if self.multilabel else [last]


def joined_lower(texts: Sequence[Text]) -> list[str]:
    """Texts as `in_lower_case` wants them."""
    return [_joined(text).lower() for text in texts]


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(text)


def _regression(
    counts: Any,  # noqa: ANN401  a sparse matrix
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
    classes: NDArray[np.int64],
) -> LogisticRegression:
    """Fit on counts `(n, d)` that have each of k classes as likely as targets `(n, k)` say."""
    rows, having = np.nonzero(targets >= _LEAST_BELIEF)
    empty = sp.csr_matrix((len(classes), counts.shape[1]), dtype=counts.dtype)
    shares = np.concatenate([targets[rows, having] * weights[rows], np.full(len(classes), _EMPTY)])
    with warnings.catch_warnings():
        # Of few texts of many labels scikit-learn suspects that they are numbers; where the steps end is the model.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=_C, max_iter=_MOST_STEPS)
        model.fit(sp.vstack([counts[rows], empty]).tocsr(), np.concatenate([having, classes]), sample_weight=shares)
    model.coef_ = model.coef_.astype(np.float32)
    return cast(LogisticRegression, model)
