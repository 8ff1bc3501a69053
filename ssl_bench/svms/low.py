"""SVMs on a few images of each class, over several draws.

Axes: N images, C classes, S samples, T numbers of shots, K costs, P problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.metrics import average_precisions, masked_precisions
from ssl_bench.svms.labels import Place
from ssl_bench.svms.machine import Machine, Quality
from ssl_bench.svms.variants import SvmSettings

Draws = Mapping[tuple[int, int], NDArray[np.int8]]
"""From (sample, shots) to targets (N, C): 1, 0, and -1 for what is not drawn."""


def solve_classes(
    machine: Machine,
    classes: Sequence[int],
    place: Place,
    draws: Draws,
    settings: SvmSettings,
) -> dict[int, dict[str, Any]]:
    """Train some classes on every draw at every cost, and measure all models.

    Args:
        machine: fits on the features of one tap.
        classes: their columns in the targets.
        place: both splits.
        draws: what is trained on.
        settings: of the protocol.

    Returns:
        Of each class, by draw in the order of ``draws`` and by cost: ``ap`` at test,
        and ``held_out``, the same on the training images that the draw left out (None
        where no positive or no negative is left); percent. Also ``gap`` and
        ``unsolved``.
    """
    keys = list(draws)
    truth_NC, test_MC = place.train.targets_NC, place.test.targets_NC
    targets_NP = np.stack([draws[key][:, c] for c in classes for key in keys], axis=1)
    # There are hundreds of columns: they become float64 a few at a time.
    signs_NP = np.where(targets_NP == 1, 1, -1).astype(np.int8)
    weights_NP = np.where(targets_NP == 1, settings.positive_weight, 1.0).astype("f4")
    weights_NP[targets_NP == -1] = 0.0

    truth_NP = truth_NC[:, list(classes)].repeat(len(keys), axis=1)
    left_NP = np.where(targets_NP == -1, truth_NP, -1)

    shape = (targets_NP.shape[1], len(settings.grid))
    test_PK, held_PK = np.zeros(shape), np.full(shape, np.nan)
    quality = Quality(*shape)
    for fit in machine.fits(signs_NP, weights_NP, test=True):
        assert fit.test_MP is not None
        quality.note(fit)
        number_P = fit.columns // len(keys)
        for number in np.unique(number_P).tolist():
            mine = np.flatnonzero(number_P == number)
            test_PK[fit.columns[mine], fit.index] = _precisions(
                fit.test_MP[:, mine], test_MC[:, classes[number]], settings
            )
        held_PK[fit.columns, fit.index] = masked_precisions(
            fit.train_NP, left_NP[:, fit.columns], settings.ap
        )
    names = [f"sample {sample + 1}, k = {k}," for sample, k in keys]
    return {
        c: {
            "ap": test_PK[own].tolist(),
            "held_out": [
                None if np.isnan(row).any() else row.tolist() for row in held_PK[own]
            ],
            **quality.of(own.start, names, settings.grid),
        }
        for number, c in enumerate(classes)
        for own in [slice(number * len(keys), (number + 1) * len(keys))]
    }


def _precisions(
    scores_NP: NDArray[np.float64], targets_N: NDArray[np.int8], settings: SvmSettings
) -> NDArray[np.float64]:
    kept_N = targets_N != -1
    return average_precisions(scores_NP[kept_N], targets_N[kept_N] == 1, settings.ap)
