"""The comparison of the SVM solvers: its own figures, and that it sees a bad solver."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_sample_images

from benchmarks.speed import svm as speed
from benchmarks.speed import svm_agreement, svm_features
from benchmarks.speed.svm_agreement import (
    Solved,
    choices,
    compare,
    judge,
    objectives,
    precision,
    solve,
    to_the_end,
)
from ssl_bench.protocols import lowshot, svm
from ssl_bench.solvers import svm_kernel
from tests.reference import svm as reference
from tests.svms.scenes import EXACT, place_of, scene

COSTS = (1.0, 100.0, 0.01)
WHOLE = svm.Settings(costs=COSTS)
FEW = lowshot.Settings(costs=COSTS, shots=(1, 3), samples=1)
HASTY: dict[str, Any] = {
    "steps": 1, "inner": 0.5, "inner_steps": 1, "tolerance": 1e-15, "few": 0,
}  # fmt: skip


def test_objectives_and_bounds_by_hand() -> None:
    """Both decisions are 3/4: the first lacks 1/4, the second, of sign -1, 7/4.

    Loss: 2 / 16 + 49 / 16 = 51 / 16; half the square of (1/2, 1/4, 1/4) is 3 / 16.
    Slope at C = 1/2: (1/2, 1/4, 1/4) - 2/4 (1, 0, 1) + 7/4 (0, 2, 1) = (0, 15/4, 3/2).
    Without the second image: (1/2, 1/4, 1/4) - 2/4 (1, 0, 1) = (0, 1/4, -1/4).
    """
    rows_NE = np.array([[1.0, 0, 1], [0, 2, 1]])
    signs_NP = np.array([[1, 1], [-1, -1]])
    weights_NP = np.array([[2.0, 2], [1, 0]])
    models_EP = np.array([[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]])
    values_P, bounds_P = judge(rows_NE, signs_NP, weights_NP, 0.5, models_EP)
    assert values_P.tolist() == [3 / 16 + 51 / 32, 3 / 16 + 1 / 16]
    assert bounds_P.tolist() == [(225 / 16 + 9 / 4) / 2, (1 / 16 + 1 / 16) / 2]


@pytest.mark.parametrize("cost", [1e-3, 1.0, 30.0])
def test_no_model_is_further_from_the_least_than_its_bound(cost: float) -> None:
    rng = np.random.default_rng(3)
    rows_NE = np.hstack([rng.normal(size=(40, 6)), np.ones((40, 1))])
    signs_N = np.where(rng.random(40) < 0.3, 1.0, -1.0)
    weights_N = np.where(signs_N > 0, 2.0, 1.0)

    def value(model: Any) -> float:
        loss = 0.0
        for row, sign, weight in zip(rows_NE, signs_N, weights_N, strict=True):
            loss += weight * max(0.0, 1 - sign * (row @ model)) ** 2
        return float(model @ model / 2 + cost * loss)

    least = minimize(value, np.zeros(7), method="BFGS", options={"gtol": 1e-9})
    models_EP = least.x[:, None] + np.hstack(
        [rng.normal(size=(7, 5)) * scale for scale in (1e-3, 0.1, 3.0)]
    )
    columns = (np.stack([one] * 15, axis=1) for one in (signs_N, weights_N))
    values_P, bounds_P = judge(rows_NE, *columns, cost, models_EP)
    np.testing.assert_allclose(values_P, [value(model) for model in models_EP.T])
    assert (values_P - least.fun <= bounds_P).all()
    assert (values_P - least.fun > 0).all()


def test_both_solvers_are_judged_alike_and_rightly() -> None:
    """The fourth problem of a class is that of all images."""
    arrays = scene(61, train=80)
    place = place_of(arrays)
    ours, theirs = solve(place, WHOLE), solve(place, to_the_end(WHOLE))
    assert ours.objectives_PK.shape == theirs.objectives_PK.shape == (12, 3)
    feats_ND = reference.normalised(arrays.train_ND)
    for c in range(3):
        signs_N = np.where(arrays.train_NC[:, c] == 1, 1, -1)
        for k, cost in enumerate(COSTS):
            weights, intercept = reference.fit(
                feats_ND, signs_N, cost, tol=1e-8, max_iter=100_000
            )
            loss = 0.0
            for sign, row in zip(signs_N, feats_ND, strict=True):
                short = max(0.0, 1 - sign * (float(row @ weights) + intercept))
                loss += (2 if sign > 0 else 1) * short**2
            value = (float(weights @ weights) + intercept**2) / 2 + cost * loss
            for one in (ours, theirs):
                assert one.objectives_PK[4 * c + 3, k] == pytest.approx(value, rel=1e-6)
    assert (theirs.bounds_PK < 1e-8 * theirs.objectives_PK).all()


def test_a_comparison_of_solvers_that_agree() -> None:
    arrays = scene(62, train=80)
    report = compare(place_of(arrays), WHOLE, FEW)
    assert json.loads(json.dumps(report)) == report
    assert report["images"] == {"train": 80, "test": 50}
    assert report["dimensions"] == 80
    for c, count in enumerate(report["positives"].values()):
        assert count == (arrays.train_NC[:, c] == 1).sum()
    # Of three classes at three costs: three folds and all images, and two draws.
    assert report["objectives"]["full"]["problems"] == 3 * 4 * 3
    assert report["objectives"]["lowshot"]["problems"] == 3 * 2 * 3
    for one in report["objectives"].values():
        assert one["largest_relative"] < 1e-6
        assert one["share_within_bar"] == 1
        assert one["unsolved"] == {"ours": [], "liblinear": []}
        assert list(one["by_cost"]) == ["0.01", "1", "100"]
    assert report["cost_by_cross_validation"]["same_cost"] == 3
    expected = reference.full(*arrays, list(COSTS), **EXACT)  # type: ignore[arg-type]
    rows = report["cost_by_cross_validation"]["classes"]
    assert [row["liblinear"] for row in rows] == [COSTS[k] for k in expected["chosen"]]
    assert report["test_map"]["liblinear"] == pytest.approx(expected["map"])
    assert report["test_map"]["ours"] == pytest.approx(expected["map"], abs=0.02)
    assert report["lowshot_map"]["numbers"] == 2 * 3
    assert all(report["within_bars"].values())


def test_a_solver_that_stops_early_is_seen() -> None:
    arrays = scene(63, train=80)
    whole, few = (dataclasses.replace(one, **HASTY) for one in (WHOLE, FEW))
    report = compare(place_of(arrays), whole, few)
    for one in report["objectives"].values():
        assert one["largest_relative"] > 1e-6
        assert one["ours_above"] == one["largest_relative"]
        assert one["share_within_bar"] < 1
        assert one["unsolved"]["ours"]
        assert one["by_cost"]["100"]["largest_relative"] > 1e-3
    assert not report["within_bars"]["objectives"]


def test_a_reference_that_stops_early_is_seen() -> None:
    place = place_of(scene(64, train=80))
    ours = solve(place, WHOLE)
    theirs = solve(place, dataclasses.replace(to_the_end(WHOLE), liblinear_steps=1))
    found = objectives(ours, theirs, COSTS)
    assert len(found["unsolved"]["liblinear"]) == 36
    assert found["unsolved"]["ours"] == []
    assert found["ours_below"] > 1e-4
    assert found["liblinear_bound"] > 1e-4


def solved(*classes: dict[str, Any]) -> Solved:
    return Solved(list(classes), np.ones((1, 1)), np.zeros((1, 1)))


def test_choices_by_hand() -> None:
    """In class a our curve says 0.004 between both choices, liblinear's 0.003."""
    same = {"cv_ap": [10.0, 20.0, 30.0], "chosen": 2, "cost": 8.0}
    ours = {"cv_ap": [50.0, 60.0, 60.004], "chosen": 2, "cost": 8.0}
    theirs = {"cv_ap": [50.0, 60.003, 60.0], "chosen": 1, "cost": 4.0}
    found = choices(solved(ours, same), solved(theirs, same), ("a", "b"))
    assert found == {
        "classes": [
            {"class": "a", "ours": 8.0, "liblinear": 4.0, "apart_points": 0.004},
            {"class": "b", "ours": 8.0, "liblinear": 8.0, "apart_points": 0.0},
        ],
        "same_cost": 1,
        "largest_apart_points": 0.004,
        "largest_apart_points_at_one_cost": 0.004,
    }


def test_precision_by_hand() -> None:
    """Means over the classes: 60 and 60.25; of two numbers 20, 30 and 20, 30.5."""
    ours, theirs = (solved({"ap": 50.0}, {"ap": top}) for top in (70.0, 70.5))
    assert precision(ours, theirs) == {
        "ours": 60.0, "liblinear": 60.25, "largest_apart_points": 0.25,
    }  # fmt: skip
    ours, theirs = (
        solved({"ap": [[10.0, 20.0]]}, {"ap": [[30.0, top]]}) for top in (40.0, 41.0)
    )
    assert precision(ours, theirs) == {"numbers": 2, "largest_apart_points": 0.5}


def test_made_features_are_others_than_those_of_the_speed_measurement() -> None:
    place = svm_agreement.made(1100, 8)
    assert (len(place.train), len(place.test)) == (1100, 4952)
    assert place.train.targets_NC.shape == (1100, 8)
    # Classes by their rates: person is shown most often, sheep least often.
    positives = [place.test.positives(c) for c in range(8)]
    rates = [svm_features.POSITIVES[c] for c in svm_agreement.CLASSES]
    assert np.argmax(positives) == np.argmax(rates) == 5
    assert np.argmin(positives) == np.argmin(rates) == 6
    other_ND = svm_features.make(8, speed.SEED)[0][:1100]
    assert not np.allclose(place.train.features.feats_ND, other_ND)
    for images, dims in svm_agreement.SHAPES.values():
        assert images > svm_kernel._EXACT
        assert dims != 8192


def test_windows_are_cut_from_the_photographs() -> None:
    """Of 427 x 640 pixels every 100: 4 rows of 6 windows, of each photograph."""
    images_NHWC, targets_NC = svm_agreement.windows(100)
    assert images_NHWC.shape == (48, 96, 96, 3)
    photos = load_sample_images().images
    np.testing.assert_array_equal(images_NHWC[7], photos[0][100:196, 100:196])
    np.testing.assert_array_equal(images_NHWC[24 + 5], photos[1][:96, 500:596])
    assert targets_NC[:, 0].tolist() == [1] * 24 + [0] * 24
    # A third of the windows, the brightest.
    grey_N = images_NHWC.astype(float).mean(axis=(1, 2, 3))
    assert targets_NC[:, 2].sum() == 16
    assert grey_N[targets_NC[:, 2] == 1].min() > grey_N[targets_NC[:, 2] == 0].max()


def test_the_whole_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm_agreement, "SHAPES", {"made": (90, 24)})
    monkeypatch.setattr(svm_agreement, "CLASSES", (8, 14))
    monkeypatch.setattr(svm_agreement, "STRIDE", 50)
    monkeypatch.setattr("sys.argv", ["svm_agreement", "--out", str(tmp_path)])
    svm_agreement.main()
    report = json.loads((tmp_path / "svm_agreement.json").read_text())
    assert set(report) == {"bars", "made", "photographs", "machine"}
    # Two and five classes at 19 costs: four fits each, and one draw of eight k.
    for name, classes in (("made", 2), ("photographs", 5)):
        found = report[name]["objectives"]
        assert found["full"]["problems"] == classes * 19 * 4
        assert found["lowshot"]["problems"] == classes * 19 * 8
        assert len(found["full"]["by_cost"]) == 19
        for one in found.values():
            assert one["share_within_bar"] == 1
            assert one["unsolved"]["liblinear"] == []
