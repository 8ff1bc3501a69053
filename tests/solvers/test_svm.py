"""Many SVMs at once against liblinear, against a dense Newton method, by properties.

Axes: N images, D dimensions, P problems, n images of one problem.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from ssl_bench.solvers.svm import Rule, Solution, solve_blocks, solve_shared
from ssl_bench.solvers.svm_kernel import Kernel, normalised
from ssl_bench.solvers.svm_liblinear import fit_columns

Floats = NDArray[np.float64]

COSTS = (*(0.5**power for power in range(19, -1, -1)), 10.0, 100.0)
RULE = Rule(tolerance=1e-8, steps=100, inner=1e-4, inner_steps=100)
TIGHT = Rule(tolerance=1e-11, steps=100, inner=1e-6, inner_steps=300)
EPSILON = 1e-5
PLENTY = 1 << 30

# Images, dimensions and the share of positives of each problem.
SHAPES = [
    (40, 30, (0.1, 0.5)),
    (60, 300, (0.05, 0.3)),
    (300, 40, (0.03, 0.5)),
    (400, 100, (0.03, 0.2)),
]


def scene(seed: int, images: int, dims: int) -> tuple[NDArray[np.float32], Floats]:
    """Draw features as after a ReLU: not negative, correlated, unequally long.

    Returns:
        Features (N, D), and what stands behind them (N, 8).
    """
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(images, 8))
    mixed = causes @ rng.normal(size=(8, dims)) + 0.7 * rng.normal(size=(images, dims))
    lengths = rng.uniform(0.2, 5, (images, 1))
    return (lengths * np.maximum(mixed + 1, 0)).astype(np.float32), causes


def problems(
    seed: int, causes: Floats, shares: Sequence[float], left_out: float = 0.15
) -> tuple[Floats, Floats]:
    """Draw labels that the causes explain in part, and weights of 0, 1 and 2."""
    rng = np.random.default_rng(seed)
    images = len(causes)
    signs_NP = -np.ones((images, len(shares)))
    for column, share in enumerate(shares):
        scores = causes[:, column % 8] + 0.5 * rng.normal(size=images)
        count = max(1, round(share * images))
        signs_NP[np.argsort(-scores)[:count], column] = 1
    weights_NP = np.where(signs_NP > 0, 2.0, 1.0)
    weights_NP[rng.random(weights_NP.shape) < left_out] = 0.0
    return signs_NP, weights_NP


def kernel_of(feats_ND: NDArray[np.float32], memory: int = PLENTY) -> Kernel:
    return Kernel(feats_ND, epsilon=EPSILON, device="cpu", memory=memory)


def solve(
    kernel: Kernel,
    signs_NP: Floats,
    weights_NP: Floats,
    costs: Sequence[float] = COSTS,
    rule: Rule = RULE,
    rank: int = 16,
) -> dict[int, Solution]:
    """Solve with shared images; solutions by the place of their cost."""
    found = list(
        solve_shared(
            kernel,
            kernel.spectrum(rank, 0),
            torch.from_numpy(signs_NP),
            torch.from_numpy(weights_NP),
            costs,
            rule,
        )
    )
    order = [costs[solution.index] for solution in found]
    assert order == sorted(costs)
    return {solution.index: solution for solution in found}


def solve_apart(
    kernel: Kernel,
    signs_NP: Floats,
    weights_NP: Floats,
    costs: Sequence[float] = COSTS,
    rule: Rule = RULE,
) -> dict[int, Solution]:
    """Solve on rows of their own: those that count, padded with others to one size."""
    used = [np.flatnonzero(column > 0) for column in weights_NP.T]
    size = max(map(len, used))
    rows_Pn = np.stack(
        [
            np.concatenate([rows, np.flatnonzero(column == 0)[: size - len(rows)]])
            for rows, column in zip(used, weights_NP.T, strict=True)
        ]
    )
    places = range(weights_NP.shape[1])
    found = solve_blocks(
        kernel,
        torch.from_numpy(rows_Pn),
        torch.from_numpy(np.stack([signs_NP[rows_Pn[p], p] for p in places], axis=1)),
        torch.from_numpy(np.stack([weights_NP[rows_Pn[p], p] for p in places], axis=1)),
        costs,
        rule,
    )
    spread = {}
    for solution in found:
        duals_NP = torch.zeros(signs_NP.shape, dtype=torch.float64)
        duals_NP.scatter_(0, torch.from_numpy(rows_Pn).T, solution.duals_NP)
        spread[solution.index] = Solution(
            solution.index,
            duals_NP,
            solution.decisions_NP,
            solution.gaps_P,
            solution.solved_P,
        )
    return spread


def with_one(kernel: Kernel) -> Floats:
    """Return the scaled features with the entry 1 for the intercept, (N, D + 1)."""
    scaled: Floats = kernel.features().double().numpy()
    return np.hstack([scaled, np.ones((len(scaled), 1))])


def objective(
    rows: Floats, signs: Floats, weights: Floats, cost: float, model: Floats
) -> float:
    """Return (w'w + b^2) / 2 + C sum of s max(0, 1 - y f)^2."""
    short = np.maximum(0, 1 - signs * (rows @ model))
    return float(model @ model / 2 + cost * weights @ short**2)


def optimum(rows: Floats, signs: Floats, weights: Floats, cost: float) -> Floats:
    """Return the best model by Newton's method in the primal, solved densely."""
    model = np.zeros(rows.shape[1])
    value = objective(rows, signs, weights, cost, model)
    for _ in range(200):
        active = signs * (rows @ model) < 1
        bent = 2 * cost * (weights * active)[:, None] * rows
        system = np.eye(rows.shape[1]) + rows.T @ bent
        step = np.linalg.solve(system, bent.T @ signs) - model
        length = 1.0
        while (
            length > 1e-9
            and objective(rows, signs, weights, cost, model + length * step) > value
        ):
            length /= 2
        before, model = value, model + length * step
        value = objective(rows, signs, weights, cost, model)
        if before - value <= 1e-15 * value:
            return model
    raise AssertionError("the reference did not converge")


def by_liblinear(
    rows: Floats, signs: Floats, weights: Floats, cost: float
) -> Floats | None:
    """Return scikit-learn's model, or None where it does not converge."""
    used = weights > 0
    machine = LinearSVC(
        C=cost,
        dual=True,
        tol=1e-8,
        max_iter=100_000,
        intercept_scaling=1.0,
        class_weight={1: 2.0, -1: 1.0},
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(rows[used, :-1], signs[used])
    if machine.n_iter_ >= 100_000:
        return None
    model: Floats = np.append(machine.coef_[0], machine.intercept_[0])
    return model


def check(
    kernel: Kernel, signs_NP: Floats, weights_NP: Floats, found: dict[int, Solution]
) -> None:
    """Compare every problem at every cost with the dense method.

    Gaps are told relative to the model's half squared length. The objective is
    1-strongly convex in (w, b), so that a model that is worse than the best by d lies
    within sqrt(2 d) of it. A matrix that is held is made of float32 products: it is off
    by some 1e-7 where the duals meet it, on both sides and in the loss.
    """
    rows = with_one(kernel)
    off = 3e-7 if kernel.explicit else 0.0
    for index, cost in enumerate(COSTS):
        solution = found[index]
        assert bool(solution.solved_P.all()), cost
        assert bool((solution.gaps_P <= RULE.tolerance).all()), cost
        duals = solution.duals_NP.numpy()
        models = rows.T @ duals
        for p in range(signs_NP.shape[1]):
            args = (rows, signs_NP[:, p], weights_NP[:, p], cost)
            best = optimum(*args)
            least, value = objective(*args, best), objective(*args, models[:, p])
            assert value <= least * (1 + 1e-6), (cost, p)
            length = models[:, p] @ models[:, p] / 2
            left = (float(solution.gaps_P[p]) + RULE.tolerance) * length
            left += off * np.abs(duals[:, p]).sum() ** 2 + 1e-13 * value
            assert value - least <= left, (cost, p)
            assert np.linalg.norm(models[:, p] - best) <= math.sqrt(2 * left), (cost, p)


@pytest.mark.parametrize("memory", [PLENTY, 0])
@pytest.mark.parametrize("solver", [solve, solve_apart])
@pytest.mark.parametrize(("images", "dims", "shares"), SHAPES)
def test_every_cost_is_as_good_as_a_dense_newton_method(
    images: int, dims: int, shares: tuple[float, ...], solver: Any, memory: int
) -> None:
    feats_ND, causes = scene(images, images, dims)
    signs_NP, weights_NP = problems(1, causes, shares)
    kernel = kernel_of(feats_ND, memory)
    check(kernel, signs_NP, weights_NP, solver(kernel, signs_NP, weights_NP))


@pytest.mark.parametrize("solver", [solve, solve_apart])
@pytest.mark.parametrize(("images", "dims"), [(40, 30), (150, 300), (250, 40)])
def test_every_cost_is_as_good_as_liblinear(
    images: int, dims: int, solver: Any
) -> None:
    feats_ND, causes = scene(3, images, dims)
    signs_NP, weights_NP = problems(4, causes, (0.06,))
    kernel = kernel_of(feats_ND)
    found = solver(kernel, signs_NP, weights_NP)
    rows = with_one(kernel)
    seen = 0
    for index, cost in enumerate(COSTS):
        theirs = by_liblinear(rows, signs_NP[:, 0], weights_NP[:, 0], cost)
        if theirs is None:
            continue
        seen += 1
        ours = rows.T @ found[index].duals_NP[:, 0].numpy()
        args = (rows, signs_NP[:, 0], weights_NP[:, 0], cost)
        assert objective(*args, ours) == pytest.approx(
            objective(*args, theirs), rel=1e-6
        )
    assert seen >= len(COSTS) - 3


@pytest.mark.parametrize("tolerance", [0.3, 1e-2, 1e-4])
def test_gaps_bound_what_is_left_to_the_optimum(tolerance: float) -> None:
    feats_ND, causes = scene(5, 120, 60)
    signs_NP, weights_NP = problems(6, causes, (0.05, 0.2, 0.5))
    kernel = kernel_of(feats_ND)
    rule = Rule(tolerance=tolerance, steps=100, inner=1e-1, inner_steps=3)
    found = solve(kernel, signs_NP, weights_NP, rule=rule, rank=4)
    rows = with_one(kernel)
    seen = 0.0
    for index, cost in enumerate(COSTS):
        models = rows.T @ found[index].duals_NP.numpy()
        for p in range(3):
            args = (rows, signs_NP[:, p], weights_NP[:, p], cost)
            length = models[:, p] @ models[:, p] / 2
            left = objective(*args, models[:, p]) - objective(*args, optimum(*args))
            assert left <= float(found[index].gaps_P[p]) * length * (1 + 1e-4), cost
            seen = max(seen, left / length)
    assert seen > tolerance / 1e4, "nothing was left: the test tests nothing"


@pytest.mark.parametrize("memory", [PLENTY, 0])
def test_decisions_are_those_of_the_duals(memory: int) -> None:
    feats_ND, causes = scene(7, 90, 50)
    signs_NP, weights_NP = problems(8, causes, (0.1, 0.4))
    kernel = kernel_of(feats_ND, memory)
    assert kernel.explicit == (memory > 0)
    rows = with_one(kernel)
    for solution in solve(kernel, signs_NP, weights_NP, rule=TIGHT).values():
        duals = solution.duals_NP.numpy()
        assert (duals[weights_NP == 0] == 0).all()
        # Float32 products may be off by a float32 rounding of what they sum.
        np.testing.assert_allclose(
            solution.decisions_NP.numpy(),
            rows @ (rows.T @ duals),
            rtol=0,
            atol=1e-6 * np.abs(duals).sum(axis=0).max(),
        )
        # Duals of images on the right side of the margin are 0 at the optimum.
        sure = signs_NP * (rows @ (rows.T @ duals)) > 1 + 1e-3
        assert np.abs(duals[sure]).max(initial=0) == 0


def test_decisions_of_blocks_are_those_of_the_duals() -> None:
    feats_ND, causes = scene(7, 60, 50)
    signs_NP, weights_NP = problems(8, causes, (0.1, 0.4), left_out=0.0)
    kernel = kernel_of(feats_ND)
    rows = with_one(kernel)
    for solution in solve_apart(kernel, signs_NP, weights_NP).values():
        found = solution.decisions_NP.numpy()
        expected = rows @ (rows.T @ solution.duals_NP.numpy())
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_kernel_that_is_not_held_gives_the_same() -> None:
    feats_ND, causes = scene(9, 130, 70)
    signs_NP, weights_NP = problems(10, causes, (0.05, 0.4))
    held, free = kernel_of(feats_ND), kernel_of(feats_ND, memory=0)
    columns = torch.randn(130, 3, generator=torch.Generator().manual_seed(0))
    wide = columns.double()
    torch.testing.assert_close(
        held.single(columns), free.single(columns), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        held.double(wide), free.double(wide), rtol=1e-6, atol=1e-6
    )
    picked = torch.tensor([[3, 0, 7], [129, 1, 2]])
    torch.testing.assert_close(
        held.block(picked), free.block(picked), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(held.rows(picked[0]), free.rows(picked[0]))
    rows = with_one(held)
    ours = solve(held, signs_NP, weights_NP, rule=TIGHT)
    theirs = solve(free, signs_NP, weights_NP, rule=TIGHT)
    for index, cost in enumerate(COSTS):
        for p in range(2):
            one, other = (
                objective(
                    rows,
                    signs_NP[:, p],
                    weights_NP[:, p],
                    cost,
                    rows.T @ found[index].duals_NP[:, p].numpy(),
                )
                for found in (ours, theirs)
            )
            assert one == pytest.approx(other, rel=1e-7), cost


@pytest.mark.parametrize("cost", [1e-6, 0.3, 100.0])
def test_one_image_by_hand(cost: float) -> None:
    """(3, 4) becomes (3, 4) / 5.00001; a = y / (K + 1 / 2Cs), f = K a."""
    kernel = kernel_of(np.array([[3, 4]], np.float32))
    inner = (5 / 5.00001) ** 2 + 1
    for sign, weight in ((1.0, 2.0), (-1.0, 1.0)):
        dual = sign / (inner + 1 / (2 * cost * weight))
        args = (kernel, np.array([[sign]]), np.array([[weight]]), [cost])
        for solver in (solve, solve_apart):
            solution = solver(*args)[0]
            assert float(solution.duals_NP) == pytest.approx(dual, rel=1e-4)
            assert float(solution.decisions_NP) == pytest.approx(inner * dual, rel=1e-4)
            assert bool(solution.solved_P.all())


@pytest.mark.parametrize("images", [2, 7])
@pytest.mark.parametrize(("dims", "memory"), [(1, 0), (5, PLENTY), (60, PLENTY)])
@pytest.mark.parametrize("solver", [solve, solve_apart])
def test_few_images(images: int, dims: int, memory: int, solver: Any) -> None:
    feats_ND, causes = scene(11, images, dims)
    feats_ND += np.float32(0.1)
    signs_NP, weights_NP = problems(12, causes, (0.5, 0.2), left_out=0.0)
    kernel = kernel_of(feats_ND, memory)
    check(kernel, signs_NP, weights_NP, solver(kernel, signs_NP, weights_NP))


@pytest.mark.parametrize("images", [2, 3, 7, 20])
@pytest.mark.parametrize("solver", [solve, solve_apart])
def test_a_held_matrix_that_is_singular_but_for_rounding(
    images: int, solver: Any
) -> None:
    """One dimension: all rows are alike but for 1e-5, labels contradict each other.

    Gaps say little here, where the rounding of K is larger than what tells images
    apart; the objective is good all the same.
    """
    feats_ND, causes = scene(11, images, 1)
    signs_NP, weights_NP = problems(12, causes, (0.5, 0.2), left_out=0.0)
    kernel = kernel_of(feats_ND + np.float32(0.1))
    rows = with_one(kernel)
    for index, solution in solver(kernel, signs_NP, weights_NP).items():
        models = rows.T @ solution.duals_NP.numpy()
        for p in range(2):
            args = (rows, signs_NP[:, p], weights_NP[:, p], COSTS[index])
            least = objective(*args, optimum(*args))
            assert objective(*args, models[:, p]) <= least * (1 + 1e-6)


def twins(feats_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every image three times."""
    return np.repeat(feats_ND[::3], 3, axis=0)


def zeros(feats_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of zeros, of both kinds."""
    feats_ND[::4] = 0
    return feats_ND


def flat(feats_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """All images alike: nothing but the intercept is left."""
    return np.full_like(feats_ND, 0.37)


def half_flat(feats_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half of the dimensions say nothing."""
    feats_ND[:, ::2] = 3.0
    return feats_ND


def on_a_line(feats_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiples of one row, of either sign: a matrix of rank 1."""
    shares = np.linspace(-1, 2, len(feats_ND), dtype=np.float32)[:, None]
    return shares * feats_ND[:1]


@pytest.mark.parametrize("solver", [solve, solve_apart])
@pytest.mark.parametrize(
    ("make", "memory"),
    [
        (twins, PLENTY),
        (zeros, PLENTY),
        (flat, PLENTY),
        (half_flat, PLENTY),
        (on_a_line, 0),
    ],
)
def test_odd_features(make: Any, memory: int, solver: Any) -> None:
    feats_ND, causes = scene(13, 60, 20)
    feats_ND = make(feats_ND)
    signs_NP, weights_NP = problems(14, causes[: len(feats_ND)], (0.1, 0.4))
    kernel = kernel_of(feats_ND, memory)
    check(kernel, signs_NP, weights_NP, solver(kernel, signs_NP, weights_NP))


@pytest.mark.parametrize("rank", [1, 5, 59, 60, 500])
def test_any_rank_leads_to_the_same_optimum(rank: int) -> None:
    feats_ND, causes = scene(15, 60, 90)
    signs_NP, weights_NP = problems(16, causes, (0.1, 0.4))
    kernel = kernel_of(feats_ND)
    check(kernel, signs_NP, weights_NP, solve(kernel, signs_NP, weights_NP, rank=rank))


@pytest.mark.parametrize("solver", [solve, solve_apart])
def test_costs_in_any_order_give_the_same(solver: Any) -> None:
    feats_ND, causes = scene(17, 80, 40)
    signs_NP, weights_NP = problems(18, causes, (0.1, 0.4))
    kernel = kernel_of(feats_ND)
    straight = solver(kernel, signs_NP, weights_NP)
    order = np.random.default_rng(0).permutation(len(COSTS))
    mixed = solver(kernel, signs_NP, weights_NP, [COSTS[i] for i in order])
    for place, index in enumerate(order):
        assert torch.equal(mixed[place].duals_NP, straight[int(index)].duals_NP)
        assert torch.equal(mixed[place].gaps_P, straight[int(index)].gaps_P)


def test_a_problem_that_is_not_solved_says_so() -> None:
    feats_ND, causes = scene(19, 200, 80)
    signs_NP, weights_NP = problems(20, causes, (0.03, 0.3))
    kernel = kernel_of(feats_ND)
    hasty = Rule(tolerance=1e-12, steps=1, inner=1e-1, inner_steps=1)
    rows = with_one(kernel)
    solution = solve(kernel, signs_NP, weights_NP, [10.0], hasty)[0]
    assert not bool(solution.solved_P.any())
    for p in range(2):
        gap = float(solution.gaps_P[p])
        args = (rows, signs_NP[:, p], weights_NP[:, p], 10.0)
        model = rows.T @ solution.duals_NP[:, p].numpy()
        left = objective(*args, model) - objective(*args, optimum(*args))
        assert math.isfinite(gap)
        assert 1e-12 < left / (model @ model / 2) <= gap


def test_blocks_that_are_not_solved_say_so() -> None:
    feats_ND, causes = scene(19, 200, 80)
    signs_NP, weights_NP = problems(20, causes, (0.03, 0.3))
    hasty = Rule(tolerance=1e-12, steps=1, inner=1e-4, inner_steps=100)
    found = solve_apart(kernel_of(feats_ND), signs_NP, weights_NP, [10.0], hasty)[0]
    assert not bool(found.solved_P.any())
    assert bool((found.gaps_P > 1e-12).all())
    assert bool(found.gaps_P.isfinite().all())


@pytest.mark.parametrize("solver", [solve, solve_apart])
def test_a_problem_is_not_moved_by_those_beside_it(solver: Any) -> None:
    feats_ND, causes = scene(21, 120, 60)
    signs_NP, weights_NP = problems(22, causes, (0.03, 0.1, 0.3, 0.5))
    kernel = kernel_of(feats_ND)
    rows = with_one(kernel)
    together = solver(kernel, signs_NP, weights_NP, rule=TIGHT)
    for p in (0, 3):
        signs_N1, weights_N1 = signs_NP[:, [p]], weights_NP[:, [p]]
        alone = solver(kernel, signs_N1, weights_N1, rule=TIGHT)
        for index, cost in enumerate(COSTS):
            args = (rows, signs_NP[:, p], weights_NP[:, p], cost)
            one = objective(*args, rows.T @ alone[index].duals_NP[:, 0].numpy())
            other = objective(*args, rows.T @ together[index].duals_NP[:, p].numpy())
            assert one == pytest.approx(other, rel=1e-9), cost


def test_order_of_images_moves_nothing() -> None:
    feats_ND, causes = scene(23, 90, 40)
    signs_NP, weights_NP = problems(24, causes, (0.1,))
    order = np.random.default_rng(1).permutation(90)
    straight = solve(kernel_of(feats_ND), signs_NP, weights_NP, rule=TIGHT)
    mixed = solve(
        kernel_of(feats_ND[order]), signs_NP[order], weights_NP[order], rule=TIGHT
    )
    for index in range(len(COSTS)):
        torch.testing.assert_close(
            mixed[index].decisions_NP,
            straight[index].decisions_NP[torch.from_numpy(order)],
            rtol=0,
            atol=1e-3,
        )


@pytest.mark.parametrize(("images", "dims", "rank"), [(120, 60, 8), (50, 300, 20)])
@pytest.mark.parametrize("memory", [PLENTY, 0])
def test_spectrum_equals_numpy(images: int, dims: int, rank: int, memory: int) -> None:
    kernel = kernel_of(scene(25, images, dims)[0], memory)
    rows = with_one(kernel)
    gram = rows @ rows.T
    exact = np.linalg.eigvalsh(gram)[::-1]
    spectrum = kernel.spectrum(rank, 0)
    values = spectrum.values_R.double().numpy()
    assert len(values) == rank
    np.testing.assert_allclose(values[:8], exact[:8], rtol=1e-3)
    assert (values <= exact[:rank] * (1 + 1e-5)).all()
    assert spectrum.bound >= exact[rank]
    scaled = spectrum.scaled_NR.double().numpy()
    np.testing.assert_allclose(scaled.T @ scaled, np.diag(values), atol=1e-3)
    rest = np.diag(gram) - (scaled**2).sum(axis=1)
    np.testing.assert_allclose(
        spectrum.rest_N.numpy(), np.maximum(rest, 1e-3), atol=1e-4
    )


def test_spectrum_of_all_images_is_the_whole_matrix() -> None:
    kernel = kernel_of(scene(26, 30, 50)[0])
    rows = with_one(kernel)
    spectrum = kernel.spectrum(500, 0)
    scaled = spectrum.scaled_NR.double().numpy()
    assert scaled.shape == (30, 30)
    np.testing.assert_allclose(scaled @ scaled.T, rows @ rows.T, atol=2e-3)
    exact = np.linalg.eigvalsh(rows @ rows.T)[::-1]
    np.testing.assert_allclose(spectrum.values_R.numpy()[:10], exact[:10], rtol=1e-4)


def test_spectrum_comes_from_its_seed_alone() -> None:
    kernel = kernel_of(scene(27, 80, 30)[0])
    torch.manual_seed(1)
    first = kernel.spectrum(8, 5)
    torch.manual_seed(2)
    assert torch.equal(kernel.spectrum(8, 5).scaled_NR, first.scaled_NR)
    assert not torch.equal(kernel.spectrum(8, 6).scaled_NR, first.scaled_NR)


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e15])
def test_normalised_equals_numpy(factor: float) -> None:
    feats_ND = scene(28, 2100, 9)[0] * np.float32(factor)
    feats_ND[5] = 0
    kept = feats_ND.copy()
    wide = feats_ND.astype(np.float64)
    expected = wide / (np.sqrt((wide**2).sum(axis=1, keepdims=True)) + EPSILON)
    found = normalised(feats_ND, EPSILON, torch.device("cpu"))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=3e-7)
    assert (feats_ND == kept).all()


def test_gram_products_and_decisions_equal_numpy() -> None:
    """More dimensions than one slice and more images than one block hold."""
    feats_ND, _ = scene(29, 2100, 1100)
    kernel = kernel_of(feats_ND)
    rows = with_one(kernel)
    rng = np.random.default_rng(2)
    columns = rng.normal(size=(2100, 2))
    inner = rows.T @ columns
    found = kernel.double(torch.from_numpy(columns)).numpy()
    np.testing.assert_allclose(found, rows @ inner, atol=1e-4)
    assert kernel.double_NN is not None
    picked = rng.integers(0, 2100, 40)
    np.testing.assert_allclose(
        kernel.double_NN.numpy()[picked], rows[picked] @ rows.T, atol=3e-7
    )
    weights_DP, intercepts_P = kernel.primal(torch.from_numpy(columns))
    np.testing.assert_allclose(weights_DP.numpy(), inner[:-1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(intercepts_P.numpy(), inner[-1], rtol=1e-9)
    others_MD = feats_ND[::-1][:2060]
    decided = kernel.decide(others_MD, weights_DP, intercepts_P).numpy()
    np.testing.assert_allclose(decided, (rows @ inner)[::-1][:2060], atol=1e-6)
    across = kernel.across(others_MD).numpy()
    assert across.shape == (2100, 2060)
    some = rows[picked, :-1] @ rows[::-1][:2060, :-1].T
    np.testing.assert_allclose(across[picked], some, atol=1e-5)


def test_liblinear_columns_are_scikit_learns() -> None:
    feats_ND, causes = scene(30, 60, 20)
    signs_NP, weights_NP = problems(31, causes, (0.1, 0.4, 0.5))
    rows = with_one(kernel_of(feats_ND))
    options = {"tolerance": 1e-8, "steps": 100_000, "seed": 0}
    found, solved = fit_columns(rows[:, :-1], signs_NP, weights_NP, 0.5, **options)
    assert found.shape == (21, 3)
    assert solved.all()
    for p in range(3):
        theirs = by_liblinear(rows, signs_NP[:, p], weights_NP[:, p], 0.5)
        assert theirs is not None
        np.testing.assert_array_equal(found[:, p], theirs)
    hasty = fit_columns(
        rows[:, :-1], signs_NP, weights_NP, 100.0, tolerance=1e-9, steps=2, seed=0
    )
    assert not hasty[1].any()
