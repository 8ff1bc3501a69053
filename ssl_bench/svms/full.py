"""One SVM a class: cost by cross-validation, then the average precision at test.

Axes: N images, C classes, F folds, P problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bench.data.folds import stratified_folds
from ssl_bench.metrics import average_precision, average_precisions
from ssl_bench.svms.labels import Place, Split
from ssl_bench.svms.machine import Machine, Quality
from ssl_bench.svms.variants import SvmSettings


@dataclass(frozen=True)
class Problem:
    """Hold one class as a binary problem.

    Attributes:
        signs_N: +1 where the class is shown, else -1.
        weights_N: in the loss; 0 where difficult images are ignored.
    """

    signs_N: NDArray[np.float64]
    weights_N: NDArray[np.float64]


def problem_of(targets_N: NDArray[np.int8], settings: SvmSettings) -> Problem:
    """Return the problem of a class: 1 against 0, and -1 as the settings say."""
    positive_N = targets_N == 1
    weights_N = np.where(positive_N, settings.positive_weight, 1.0)
    if settings.difficult == "ignore":
        weights_N[targets_N == -1] = 0.0
    return Problem(np.where(positive_N, 1.0, -1.0), weights_N)


def solve_classes(
    machine: Machine,
    classes: Sequence[int],
    place: Place,
    settings: SvmSettings,
    folds: int,
) -> dict[int, dict[str, Any]]:
    """Choose a cost for some classes, and test the models at it.

    Args:
        machine: fits on the features of one tap.
        classes: their columns in the targets.
        place: both splits.
        settings: of the protocol.
        folds: of the cross-validation.

    Returns:
        Of each class: ``cv_ap`` by cost, place and value of the ``chosen`` cost, test
        ``ap`` in percent, largest ``gap`` of its problems, and which were ``unsolved``.
    """
    train, test = place.train, place.test
    problems = [problem_of(train.targets_NC[:, c], settings) for c in classes]
    held = [
        stratified_folds(problem.signs_N, problem.weights_N > 0, folds)
        for problem in problems
    ]
    width = folds + 1
    signs_NP = np.stack([p.signs_N for p in problems], axis=1).repeat(width, axis=1)
    weights_NP = np.stack([p.weights_N for p in problems], axis=1).repeat(width, axis=1)
    for number, parts in enumerate(held):
        for fold, rows in enumerate(parts):
            weights_NP[rows, number * width + fold] = 0.0

    costs = settings.grid
    cv_CFK = np.zeros((len(classes), folds, len(costs)))
    quality = Quality(signs_NP.shape[1], len(costs))
    models: dict[tuple[int, int], torch.Tensor] = {}
    for fit in machine.fits(signs_NP, weights_NP, test=False):
        quality.note(fit)
        for at, column in enumerate(fit.columns.tolist()):
            number, fold = divmod(column, width)
            if fold == folds:
                models[number, fit.index] = fit.models_KP[:, at].clone()
                continue
            rows = held[number][fold]
            cv_CFK[number, fold, fit.index] = average_precision(
                fit.train_NP[rows, at], signs_NP[rows, column] > 0, "step"
            )
    cv_CK = cv_CFK.mean(axis=1)
    chosen_C = cv_CK.argmax(axis=1)
    scores_MC = machine.test(
        torch.stack([models[n, int(k)] for n, k in enumerate(chosen_C)], dim=1)
    )
    names = [*(f"fold {fold + 1}" for fold in range(folds)), "all images"]
    return {
        c: {
            "cv_ap": cv_CK[number].tolist(),
            "chosen": int(chosen_C[number]),
            "cost": costs[int(chosen_C[number])],
            "ap": test_precision(scores_MC[:, number], test, c, settings),
            **quality.of(number * width, names, costs),
        }
        for number, c in enumerate(classes)
    }


def test_precision(
    scores_M: NDArray[np.float64], test: Split, index: int, settings: SvmSettings
) -> float:
    """Return the average precision of a class at test, in percent."""
    kept_M = test.targets_NC[:, index] != -1
    positive_M = test.targets_NC[kept_M, index] == 1
    scores_m1 = scores_M[kept_M, None]
    return float(average_precisions(scores_m1, positive_M, settings.ap)[0])
