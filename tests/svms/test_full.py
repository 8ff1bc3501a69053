"""The full SVM of some classes, against loops over scikit-learn's LinearSVC."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ssl_bench.protocols.svm import Settings
from ssl_bench.svms import Machine, SvmSettings
from ssl_bench.svms.full import problem_of, solve_classes
from ssl_bench.svms.machine import LiblinearMachine
from tests.reference import svm as reference
from tests.svms.scenes import EXACT, GRIDS, Arrays, place_of, scene


def machine_of(arrays: Arrays, settings: SvmSettings) -> Machine:
    kind = LiblinearMachine if settings.solver == "liblinear" else Machine
    return kind(arrays.train_ND, arrays.test_ND, settings, seed=0, device="cpu")


def solve(
    arrays: Arrays, settings: SvmSettings, folds: int = 3, classes: Any = None
) -> list[dict[str, Any]]:
    """Solve the classes together; results in their order."""
    classes = range(arrays.train_NC.shape[1]) if classes is None else classes
    machine = machine_of(arrays, settings)
    found = solve_classes(machine, classes, place_of(arrays), settings, folds)
    assert list(found) == list(classes)
    return list(found.values())


def compare(
    found: list[dict[str, Any]], expected: dict[str, Any], costs: list[float]
) -> None:
    """Ask for the same costs, or equally good ones, and the same numbers."""
    for c, one in enumerate(found):
        by_cost = expected["cross_validated"][c]
        assert one["unsolved"] == []
        assert one["cost"] == costs[one["chosen"]]
        assert len(one["cv_ap"]) == len(costs)
        np.testing.assert_allclose(one["cv_ap"], by_cost, atol=1e-4)
        if one["chosen"] != expected["chosen"][c]:
            assert by_cost[one["chosen"]] >= max(by_cost) - 1e-4
        else:
            assert one["ap"] == pytest.approx(expected["ap"][c], abs=0.02)


@pytest.mark.parametrize("variant", ["mmselfsup", "fair", "vissl"])
def test_every_variant_equals_the_reference(variant: Any) -> None:
    arrays = scene(1)
    costs = GRIDS[variant]
    found = solve(arrays, Settings(variant=variant))
    expected = reference.full(*arrays, costs, **EXACT)
    compare(found, expected, costs)
    assert [one["chosen"] for one in found] == expected["chosen"]


@pytest.mark.parametrize("difficult", ["negative", "ignore"])
@pytest.mark.parametrize("ap", ["envelope", "11point"])
def test_difficult_images_and_rules_of_ap(difficult: Any, ap: Any) -> None:
    """More images than dimensions; a fifth of the targets is difficult."""
    arrays = scene(2, train=90, dims=25, difficult=0.2)
    costs = [0.01, 0.1, 1.0]
    settings = Settings(costs=tuple(costs), difficult=difficult, ap=ap, tolerance=1e-10)
    expected = reference.full(*arrays, costs, difficult=difficult, rule=ap, **EXACT)
    compare(solve(arrays, settings), expected, costs)
    other = "ignore" if difficult == "negative" else "negative"
    unlike = reference.full(*arrays, costs, difficult=other, rule=ap, **EXACT)
    assert unlike["cross_validated"] != expected["cross_validated"]


@pytest.mark.parametrize("memory", [2 << 30, 1])
@pytest.mark.parametrize("few", [0, 320])
def test_ways_of_solving_agree(few: int, memory: int) -> None:
    arrays = scene(3)
    costs = [100.0, 0.01, 1.0]
    settings = Settings(
        costs=tuple(costs), few=few, memory=memory, columns=5, tolerance=1e-10
    )
    compare(solve(arrays, settings), reference.full(*arrays, costs, **EXACT), costs)


def test_folds_and_weight_of_positives() -> None:
    arrays = scene(4)
    costs = [0.1, 1.0]
    settings = Settings(costs=tuple(costs), positive_weight=5.0, tolerance=1e-10)
    expected = reference.full(*arrays, costs, count=4, weight=5.0, **EXACT)
    compare(solve(arrays, settings, folds=4), expected, costs)


def test_liblinear_as_published_equals_the_reference() -> None:
    """Both call one solver with one seed: not only close, but equal."""
    arrays = scene(5)
    costs = [0.01, 1.0, 10.0]
    found = solve(arrays, Settings(costs=tuple(costs), solver="liblinear"))
    expected = reference.full(*arrays, costs)
    assert [one["chosen"] for one in found] == expected["chosen"]
    for c, one in enumerate(found):
        np.testing.assert_allclose(one["cv_ap"], expected["cross_validated"][c])
        assert one["ap"] == pytest.approx(expected["ap"][c])
        assert one["gap"] is None


def test_liblinear_that_stops_early_is_told() -> None:
    settings = Settings(costs=(100.0, 1e-4), solver="liblinear", liblinear_steps=2)
    found = solve(scene(5), settings)[0]
    assert "all images at cost 100" in found["unsolved"]
    assert "fold 1 at cost 100" in found["unsolved"]


def test_newton_that_stops_early_is_told() -> None:
    settings = Settings(
        costs=(100.0,), steps=1, inner_steps=1, inner=0.5, tolerance=1e-12, few=0
    )
    found = solve(scene(5), settings)[0]
    names = ["fold 1", "fold 2", "fold 3", "all images"]
    assert found["unsolved"] == [f"{name} at cost 100" for name in names]
    assert found["gap"] > 1e-12


def test_of_equally_good_costs_the_first_is_taken() -> None:
    """Far apart, every cost ranks every image right."""
    arrays = scene(6)
    shown = [arrays.train_NC == 1, arrays.test_NC == 1]
    codes = [np.hstack([NC, ~NC]).astype(np.float32) for NC in shown]
    easy = arrays._replace(train_ND=codes[0], test_ND=codes[1])
    for costs in ((10.0, 1.0, 100.0), (100.0, 10.0, 1.0)):
        for one in solve(easy, Settings(costs=costs)):
            assert one["cv_ap"] == [100, 100, 100]
            assert one["ap"] == 100
            assert one["cost"] == costs[0]


def test_some_classes_alone_give_the_same() -> None:
    arrays = scene(7, classes=4)
    settings = Settings(costs=(0.01, 1.0), tolerance=1e-10)
    together = solve(arrays, settings)
    alone = solve(arrays, settings, classes=[2])[0]
    assert alone["chosen"] == together[2]["chosen"]
    np.testing.assert_allclose(alone["cv_ap"], together[2]["cv_ap"], atol=1e-9)
    assert alone["ap"] == pytest.approx(together[2]["ap"], abs=1e-9)


def test_problem_by_hand() -> None:
    targets_N = np.array([1, 0, -1, 1], np.int8)
    found = problem_of(targets_N, Settings())
    assert found.signs_N.tolist() == [1, -1, -1, 1]
    assert found.weights_N.tolist() == [2, 1, 1, 2]
    ignoring = dataclasses.replace(Settings(), difficult="ignore", positive_weight=3.0)
    assert problem_of(targets_N, ignoring).weights_N.tolist() == [3, 1, 0, 3]
