"""Cross-validation folds: every class spread evenly, in the order of the images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified_folds(
    labels_N: NDArray[np.float64], used_N: NDArray[np.bool_], count: int
) -> list[NDArray[np.int64]]:
    """Return the images that each fold holds out, as scikit-learn's StratifiedKFold.

    Args:
        labels_N: labels of two or more kinds, each of ``count`` images or more.
        used_N: the images that take part; the others are in no fold.
        count: of folds.

    Returns:
        One ascending array of places a fold; together they are the images used.
    """
    from sklearn.model_selection import StratifiedKFold

    used = np.flatnonzero(used_N)
    split = StratifiedKFold(count, shuffle=False).split(
        np.zeros((len(used), 1)), labels_N[used]
    )
    return [used[held] for _, held in split]
