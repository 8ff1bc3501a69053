"""Both solvers on features of real photographs: the same choices, the same precision.

The photographs are the two that scikit-learn carries, cut into overlapping windows;
what a window shows is told from its pixels, and the features are the bundled network's.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.speed.svm_agreement import SHOWN, photographs
from ssl_bench.protocols.svm import Settings
from ssl_bench.svms.full import solve_classes
from ssl_bench.svms.machine import LiblinearMachine, Machine

STRIDE = 19


@pytest.mark.slow
def test_the_solvers_agree_on_photographs() -> None:
    place = photographs(STRIDE)
    assert 300 < len(place.train) < 800
    for c in range(len(SHOWN)):
        assert 10 < place.train.positives(c) < 0.7 * len(place.train)
    ours = Settings()
    theirs = dataclasses.replace(
        ours, solver="liblinear", liblinear_tolerance=1e-8, liblinear_steps=1_000_000
    )
    found = []
    for kind, settings in ((Machine, ours), (LiblinearMachine, theirs)):
        machine = kind(
            place.train.features.feats_ND,
            place.test.features.feats_ND,
            settings,
            seed=0,
            device="cpu",
        )
        group = range(len(SHOWN))
        found.append(solve_classes(machine, group, place, settings, settings.folds))
    for c in range(len(SHOWN)):
        mine, other = found[0][c], found[1][c]
        assert mine["unsolved"] == other["unsolved"] == []
        # Two images of nearly the same decision that change places move it by 0.03.
        np.testing.assert_allclose(mine["cv_ap"], other["cv_ap"], rtol=0, atol=0.1)
        apart = other["cv_ap"][mine["chosen"]] - other["cv_ap"][other["chosen"]]
        assert abs(apart) < 1e-4
    means = [np.mean([one[c]["ap"] for c in one]) for one in found]
    assert abs(means[0] - means[1]) < 0.02
    assert 50 < means[0] < 100
