"""The low-shot SVM, against loops over scikit-learn's LinearSVC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bench.data import lowshot
from ssl_bench.protocols.lowshot import Settings
from ssl_bench.svms import Machine
from ssl_bench.svms.low import solve_classes
from ssl_bench.svms.machine import LiblinearMachine
from tests.reference import svm as reference
from tests.svms.scenes import EXACT, GRIDS, Arrays, place_of, scene

Draws = dict[tuple[int, int], NDArray[np.int8]]


def draws_of(arrays: Arrays, shots: list[int], samples: int, seed: int) -> Draws:
    return {
        (sample, k): lowshot.draw(arrays.train_NC, seed=seed, sample=sample, shots=k)
        for k in shots
        for sample in range(samples)
    }


def solve(arrays: Arrays, draws: Draws, settings: Settings) -> list[dict[str, Any]]:
    kind = LiblinearMachine if settings.solver == "liblinear" else Machine
    machine = kind(arrays.train_ND, arrays.test_ND, settings, seed=0, device="cpu")
    classes = range(arrays.train_NC.shape[1])
    found = solve_classes(machine, classes, place_of(arrays), draws, settings)
    assert list(found) == list(classes)
    return list(found.values())


def compare(
    found: list[dict[str, Any]], draws: Draws, expected: dict[int, dict[str, Any]]
) -> None:
    """Compare means over the classes; all are in percent."""
    test_CDK = np.array([one["ap"] for one in found])
    for place, (sample, k) in enumerate(draws):
        maps = expected[k]["maps"][sample]
        np.testing.assert_allclose(test_CDK[:, place].mean(axis=0), maps, atol=0.02)
        held = [one["held_out"][place] for one in found]
        there = [row for row in held if row is not None]
        expected_held = expected[k]["held_maps"][sample]
        if not there:
            assert set(expected_held) == {None}
        else:
            np.testing.assert_allclose(np.mean(there, axis=0), expected_held, atol=0.02)


@pytest.mark.parametrize("variant", ["mmselfsup", "fair", "vissl"])
def test_every_variant_equals_the_reference(variant: Any) -> None:
    arrays = scene(1, train=80, classes=4, share=0.25)
    draws = draws_of(arrays, [1, 5], samples=2, seed=7)
    found = solve(arrays, draws, Settings(variant=variant))
    expected = reference.lowshot(*arrays, GRIDS[variant], [1, 5], 2, 7, **EXACT)
    compare(found, draws, expected)
    assert all(one["unsolved"] == [] for one in found)
    for k in (1, 5):
        places = [at for at, key in enumerate(draws) if key[1] == k]
        test_CSK = np.array([[one["ap"][at] for at in places] for one in found])
        held_CSK = np.array([[one["held_out"][at] for at in places] for one in found])
        mean_K = test_CSK.mean(axis=(0, 1))
        ours = expected[k]["mean"]
        assert mean_K.max() == pytest.approx(ours, abs=0.02)
        for s, held_K in enumerate(held_CSK.mean(axis=0)):
            theirs = expected[k]["held_maps"][s]
            assert theirs[int(held_K.argmax())] >= max(theirs) - 0.02


@pytest.mark.parametrize("few", [0, 320])
@pytest.mark.parametrize("memory", [2 << 30, 1])
def test_ways_of_solving_agree(few: int, memory: int) -> None:
    arrays = scene(2, train=80)
    draws = draws_of(arrays, [2, 4], samples=2, seed=0)
    costs = [100.0, 1.0, 0.001]
    settings = Settings(
        costs=tuple(costs), few=few, memory=memory, columns=4, tolerance=1e-10
    )
    expected = reference.lowshot(*arrays, costs, [2, 4], 2, 0, **EXACT)
    compare(solve(arrays, draws, settings), draws, expected)


def test_liblinear_as_published_equals_the_reference() -> None:
    arrays = scene(3)
    draws = draws_of(arrays, [3], samples=2, seed=0)
    costs = [1.0, 0.1]
    found = solve(arrays, draws, Settings(costs=tuple(costs), solver="liblinear"))
    expected = reference.lowshot(*arrays, costs, [3], 2, 0)
    maps = np.array([one["ap"] for one in found]).mean(axis=0)
    np.testing.assert_allclose(maps, expected[3]["maps"], atol=1e-9)


def test_eleven_points_are_counted_as_written() -> None:
    arrays = scene(4)
    draws = draws_of(arrays, [3], samples=1, seed=0)
    found = solve(arrays, draws, Settings(costs=(1.0,), ap="11point"))
    scaled, test = map(reference.normalised, (arrays.train_ND, arrays.test_ND))
    for c, one in enumerate(found):
        drawn_N = draws[0, 3][:, c]
        used = drawn_N != -1
        labels_N = np.where(drawn_N[used] == 1, 1, -1)
        model = reference.fit(scaled[used], labels_N, 1.0, **EXACT)
        expected = reference.model_ap(test, arrays.test_NC[:, c], *model, "11point")
        assert one["ap"][0][0] == pytest.approx(expected, abs=0.02)


def test_a_class_is_held_out_only_with_both_kinds() -> None:
    """Of class 0 every negative is drawn, of class 1 every positive."""
    arrays = scene(5, classes=3)
    drawn_NC = lowshot.draw(arrays.train_NC, seed=0, sample=0, shots=2)
    drawn_NC[arrays.train_NC[:, 0] == 0, 0] = 0
    drawn_NC[arrays.train_NC[:, 1] == 1, 1] = 1
    draws = {(0, 2): drawn_NC}
    costs = [0.01, 1.0]
    found = solve(arrays, draws, Settings(costs=tuple(costs), tolerance=1e-10))
    assert [one["held_out"][0] is None for one in found] == [True, True, False]
    expected = reference.lowshot(*arrays, costs, [2], 1, 0, draws=draws, **EXACT)
    compare(found, draws, expected)


def test_nothing_is_held_out_where_all_is_drawn() -> None:
    arrays = scene(6, difficult=0.0)
    draws = {(0, 99): arrays.train_NC}
    found = solve(arrays, draws, Settings(costs=(0.1, 1.0)))
    assert [one["held_out"] for one in found] == [[None]] * 3


def test_difficult_images_are_in_no_draw_and_in_no_measure() -> None:
    """Features of difficult images may be anything: no number moves."""
    arrays = scene(7, classes=2, difficult=0.0)
    arrays.train_NC[-10:] = -1
    arrays.test_NC[-10:] = -1
    draws = draws_of(arrays, [3], samples=2, seed=1)
    settings = Settings(costs=(0.1, 10.0))
    before = solve(arrays, draws, settings)
    rng = np.random.default_rng(0)
    for feats_ND in (arrays.train_ND, arrays.test_ND):
        feats_ND[-10:] = rng.random((10, feats_ND.shape[1]))
    after = solve(arrays, draws, settings)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one["ap"], other["ap"], atol=1e-9)
        np.testing.assert_allclose(one["held_out"], other["held_out"], atol=1e-9)


@pytest.mark.parametrize(("seed", "sample", "k"), [(0, 0, 1), (3, 4, 2), (9, 1, 50)])
def test_draws_are_those_of_the_reference(seed: int, sample: int, k: int) -> None:
    targets_NC = scene(8, classes=5).train_NC
    found = lowshot.draw(targets_NC, seed=seed, sample=sample, shots=k)
    np.testing.assert_array_equal(found, reference.draw(targets_NC, seed, sample, k))


def test_a_draw_that_is_not_solved_is_named() -> None:
    arrays = scene(9)
    draws = draws_of(arrays, [5], samples=2, seed=0)
    settings = Settings(
        costs=(100.0,), steps=1, inner=0.5, inner_steps=1, tolerance=1e-15, few=0
    )
    found = solve(arrays, draws, settings)
    assert found[0]["unsolved"] == [
        "sample 1, k = 5, at cost 100",
        "sample 2, k = 5, at cost 100",
    ]
    assert found[0]["gap"] > 1e-15
