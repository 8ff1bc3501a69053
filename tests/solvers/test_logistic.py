"""Logistic regression against scikit-learn and scipy, and by its own gradient.

Axes: N images, C classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ssl_bench.solvers.logistic import Rule, Solution, solve_path
from ssl_bench.solvers.ridge import spectrum
from ssl_bench.solvers.rows import Rows, matrix
from tests.reference import probe as reference

CPU = torch.device("cpu")
TIGHT = Rule(tolerance=1e-8, steps=5000, history=20)
USUAL = Rule(tolerance=1e-4, steps=1000, history=10)
COSTS = (1e-4, 1e-2, 1.0, 100.0)


def scene(
    seed: int, images: int = 120, dims: int = 10, classes: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Draw features as after a ReLU, unequally spread, with classes of unequal size."""
    rng = np.random.default_rng(seed)
    sizes = np.arange(1, classes + 1)
    labels = rng.choice(classes, images, p=sizes / sizes.sum())
    labels[:classes] = np.arange(classes)
    centres = rng.normal(size=(classes, dims))
    feats = centres[labels] + rng.normal(size=(images, dims)) + 0.5
    return np.maximum(feats, 0) * np.geomspace(10, 0.1, dims), labels


def solve(
    feats: np.ndarray,
    labels: np.ndarray,
    costs: Sequence[float] = COSTS,
    rule: Rule = TIGHT,
) -> dict[int, Solution]:
    """Return the solutions by the place of their cost."""
    rows = Rows(matrix(feats, CPU), device=CPU)
    targets = torch.from_numpy(labels)
    classes = int(labels.max()) + 1
    path = solve_path(rows, targets, classes, costs, spectrum(rows), rule)
    return {solution.index: solution for solution in path}


def objective(
    feats: np.ndarray, labels: np.ndarray, cost: float, model: Sequence[np.ndarray]
) -> tuple[float, np.ndarray]:
    """Return objective and gradient in the weights, as scikit-learn has it, by n."""
    weights, bias = (np.asarray(part, np.float64) for part in model)
    feats = feats.astype(np.float64)
    scores = feats @ weights.T + bias
    logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    told = np.eye(len(weights))[labels]
    ridge = 1 / (cost * len(feats))
    value = -(logs * told).sum() / len(feats) + 0.5 * ridge * (weights**2).sum()
    slope = (np.exp(logs) - told).T @ feats / len(feats) + ridge * weights
    return float(value), slope


def sklearn_model(
    feats: np.ndarray, labels: np.ndarray, cost: float
) -> tuple[np.ndarray, np.ndarray]:
    model = LogisticRegression(C=cost, tol=1e-10, max_iter=100_000)
    model.fit(feats, labels)
    return model.coef_, model.intercept_


@pytest.mark.parametrize("shape", [(120, 10, 4), (40, 60, 3)])
def test_it_is_scikit_learns_model(shape: tuple[int, int, int]) -> None:
    feats, labels = scene(1, *shape)
    # Spread evenly: scikit-learn would need very many steps for the last digits.
    feats = feats / feats.std(axis=0).clip(0.1)
    found = solve(feats, labels)
    for index, cost in enumerate(COSTS):
        weights, bias = sklearn_model(feats, labels, cost)
        theirs, _ = objective(feats, labels, cost, (weights, bias))
        ours, _ = objective(
            feats, labels, cost, (found[index].weights_CD, found[index].bias_C)
        )
        assert ours <= theirs + 1e-9
        assert found[index].objective == pytest.approx(ours, abs=1e-12)
        assert found[index].weights_CD.numpy() == pytest.approx(weights, abs=1e-3)
        # Intercepts are the same but for one constant, which softmax does not see.
        apart = found[index].bias_C.numpy() - bias
        assert apart - apart.mean() == pytest.approx(0, abs=1e-3)


def test_it_is_what_scipy_finds() -> None:
    feats, labels = scene(2)
    found = solve(feats, labels, [0.1])[0]
    model = reference.logistic(feats, labels, 0.1)
    theirs, _ = objective(feats, labels, 0.1, model)
    assert found.objective == pytest.approx(theirs, abs=1e-9)
    assert found.weights_CD.numpy() == pytest.approx(model[0], abs=1e-4)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-3, 0), (100, 0), (1, 20)])
def test_the_gradient_is_as_small_as_it_says(
    dtype: str, scale: float, offset: float
) -> None:
    """Whatever the scale and the mean of the features."""
    feats, labels = scene(3)
    feats = (feats * scale + offset).astype(dtype)
    found = solve(feats, labels, rule=USUAL)
    mean = feats.astype(np.float64).mean(axis=0)
    centred = feats - mean
    shares = np.bincount(labels) / len(labels)
    _, start = objective(
        centred, labels, 1.0, (np.zeros((4, feats.shape[1])), np.log(shares))
    )
    for index, cost in enumerate(COSTS):
        solution = found[index]
        assert solution.solved
        weights = solution.weights_CD.double().numpy()
        bias = solution.bias_C.double().numpy() + weights @ mean
        _, slope = objective(centred, labels, cost, (weights, bias))
        relative = np.abs(slope).max() / np.abs(start).max()
        noise = 1e-9 if dtype == "f8" else 1e-5
        assert relative == pytest.approx(solution.gradient, abs=noise)
        assert solution.gradient <= 1e-4


def test_costs_may_come_in_any_order() -> None:
    feats, labels = scene(4)
    rising, mixed = solve(feats, labels), solve(feats, labels, [1.0, 1e-4, 100.0, 1e-2])
    for index, place in enumerate((1, 3, 0, 2)):
        torch.testing.assert_close(
            mixed[place].weights_CD, rising[index].weights_CD, atol=0, rtol=0
        )


def test_a_solution_does_not_depend_on_where_it_came_from() -> None:
    feats, labels = scene(5)
    path = solve(feats, labels)
    for index, cost in enumerate(COSTS):
        alone = solve(feats, labels, [cost])[0]
        torch.testing.assert_close(
            alone.weights_CD, path[index].weights_CD, atol=1e-4, rtol=1e-4
        )


def test_two_classes_are_binary_regression_at_twice_the_cost() -> None:
    """Softmax of two classes has w_0 = -w_1 = w / 2, and |w_0|^2 + |w_1|^2 = |w|^2 / 2.

    scikit-learn's binary model has |w|^2 / 2 + C loss; ours |w|^2 / 4 + C loss, which
    is half of |w|^2 / 2 + 2 C loss.
    """
    feats, labels = scene(6, classes=2)
    feats = feats / feats.std(axis=0)
    labels = (np.arange(120) < 50).astype(np.int64)
    found = solve(feats, labels, [0.5])[0]
    weights, _ = sklearn_model(feats, labels, 1.0)
    difference = found.weights_CD[1] - found.weights_CD[0]
    assert difference.numpy() == pytest.approx(weights[0], abs=1e-4)


def test_separable_classes_and_the_largest_cost() -> None:
    """The loss goes to 0, and nothing overflows."""
    feats, labels = scene(7)
    feats = feats + 30 * np.eye(4, 10)[labels]
    found = solve(feats.astype(np.float32), labels, [1e-6, 1.0, 1e6], USUAL)
    assert found[2].solved
    assert 0 <= found[2].objective < 1e-3
    scores = feats @ found[2].weights_CD.numpy().T + found[2].bias_C.numpy()
    assert (scores.argmax(1) == labels).all()


def test_a_dimension_that_never_moves_gets_no_weight() -> None:
    feats, labels = scene(8)
    still = np.insert(feats, 3, 7.0, axis=1)
    found, without = solve(still, labels, [1.0])[0], solve(feats, labels, [1.0])[0]
    assert found.weights_CD[:, 3].abs().max() < 1e-9
    kept = np.delete(found.weights_CD.numpy(), 3, axis=1)
    assert kept == pytest.approx(without.weights_CD.numpy(), abs=1e-5)


def test_features_of_zeros_leave_the_shares_of_the_classes() -> None:
    labels = np.array([0, 1, 1, 1])
    found = solve(np.zeros((4, 3)), labels, [1.0])[0]
    assert found.weights_CD.abs().max() == 0
    assert torch.softmax(found.bias_C, 0).tolist() == pytest.approx([0.25, 0.75])


def test_what_stops_early_says_so() -> None:
    feats, labels = scene(9)
    found = solve(feats, labels, [1.0], Rule(tolerance=1e-10, steps=2, history=10))[0]
    assert not found.solved
    assert found.steps == 2
    assert found.gradient > 1e-10


def test_progress_counts_costs() -> None:
    feats, labels = scene(10)
    rows = Rows(matrix(feats, CPU), device=CPU)
    seen: list[int] = []
    path = solve_path(
        rows,
        torch.from_numpy(labels),
        4,
        COSTS,
        spectrum(rows),
        USUAL,
        seen.append,
    )
    assert len(list(path)) == 4
    assert seen == [1, 1, 1, 1]
