"""The same SVMs by scikit-learn's LinearSVC: the reference, one fit after the other."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fit_columns(
    feats_ND: Floats,
    signs_NP: Floats,
    weights_NP: Floats,
    cost: float,
    *,
    tolerance: float,
    steps: int,
    seed: int,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Fit one problem a column, as the published protocol does.

    Args:
        feats_ND: normalised features, float64.
        signs_NP: labels, +1 or -1.
        weights_NP: 0 for images that a problem leaves out; else one weight for its
            positive and one for its negative images.
        cost: C.
        tolerance: liblinear's.
        steps: most iterations.
        seed: of liblinear's order of coordinates.

    Returns:
        Weights and, in the last row, intercepts, (D + 1, P); and which converged.
    """

    def fit(column: int) -> tuple[Floats, bool]:
        rows = np.flatnonzero(weights_NP[:, column] > 0)
        return _fit(
            feats_ND[rows],
            signs_NP[rows, column],
            weights_NP[rows, column],
            cost,
            tolerance=tolerance,
            steps=steps,
            seed=seed,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not converge is returned
        # In threads they would draw from one stream, in an order of chance.
        found = [fit(column) for column in range(signs_NP.shape[1])]
    return np.stack([model for model, _ in found], axis=1), np.array(
        [done for _, done in found]
    )


def _fit(
    feats_nD: Floats,
    signs_n: Floats,
    weights_n: Floats,
    cost: float,
    *,
    tolerance: float,
    steps: int,
    seed: int,
) -> tuple[Floats, bool]:
    from sklearn.svm import LinearSVC

    machine = LinearSVC(
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        tol=tolerance,
        C=cost,
        fit_intercept=True,
        intercept_scaling=1.0,
        class_weight={1: weights_n[signs_n > 0][0], -1: weights_n[signs_n < 0][0]},
        max_iter=steps,
        random_state=seed,
    ).fit(feats_nD, signs_n)
    model = np.append(machine.coef_[0], machine.intercept_[0])
    return model, bool(machine.n_iter_ < steps)
