"""The labels that classifiers learn from, and whether they fit the vectors."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64] | NDArray[np.bool_]
"""`(m,)` places among the choices, or `(m, k)` which of them, where a text may have several."""


class NothingToLearn(ValueError):  # noqa: N818
    """The labels do not tell any two texts apart yet."""


def check_labels(
    vectors: NDArray[np.float32],
    labels: Labels,
    weights: NDArray[np.floating] | None,
    n_classes: int,
    *,
    multilabel: bool,
) -> None:
    """Raise a ValueError that says which of the arguments of `fit` does not fit the others."""
    wanted = (len(vectors), n_classes) if multilabel else (len(vectors),)
    if vectors.ndim != 2 or labels.shape != wanted:
        raise ValueError(f"For vectors {vectors.shape} labels must be {wanted}, but they are {labels.shape}.")
    if not np.isfinite(vectors).all():
        raise ValueError("The vectors contain values that are not finite.")
    if not multilabel and len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(
            f"Labels must lie in 0 … {n_classes - 1}, but they reach from {labels.min()} to {labels.max()}."
        )
    if weights is None:
        return
    if weights.shape != (len(vectors),) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"Weights must be {len(vectors)} finite numbers that are not negative.")
