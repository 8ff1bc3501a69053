r"""Multinomial logistic regression by L-BFGS, over a grid of costs.

Axes: n images, b images of a block, C classes, D dimensions, R eigenvectors.

The problem is scikit-learn's ``LogisticRegression``, divided by n times the cost::

    min over W, b:  mean_i -log softmax(W x_i + b)[y_i] + |W|^2 / (2 cost n)

The intercept is not regularised. The features are centred, which moves nothing but the
intercept, and so parts it from the weights.

How many steps L-BFGS takes depends on how unequally curved the problem is, and features
are very unequal: some directions vary a thousand times as much as others. The curvature
along eigenvector r of X'X, of eigenvalue s_r, is about k s_r / n + 1 / (cost n), where
k = mean(1 - p_i[y_i]) / (C - 1) says how unsure the softmax is: 1 / C at zero weights,
less where it fits. Its inverse is the first guess of the inverse Hessian, at two
products with the eigenvectors a step, which are small beside those with all images. W
stays among the eigenvectors with s > 0, since the gradient does.

Costs are walked from the smallest to the largest, each from the solution before. A
problem counts as solved when the largest entry of the gradient in W is at most the
tolerance times what it is at W = 0, whatever the scale of the features. Where that is
below what rounding leaves of the objective, a step may seem to raise it by as much.

Source: Liu and Nocedal 1989, Math. Program. 45, 503-528, algorithm 2.1 (L-BFGS, with a
    first guess of one's own); Boehning 1992, Ann. Inst. Statist. Math. 44, 197-200 (one
    bound of the Hessian, as a product of classes and features).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.solvers.ridge import Spectrum
from ssl_bench.solvers.rows import Rows

_DECREASE = 1e-4
_HALVINGS = 20
_ROUNDINGS = 8.0
"""Roundings of the objective that a step may seem to raise it by."""

_NOTHING = 1e-20
"""Shares of classes count as 0 below this: products with denormal numbers are slow."""

_LEAST = 1e-6
"""Of k: where everything fits, only the regulariser is left."""


@dataclass(frozen=True)
class Rule:
    """Say when a problem counts as solved.

    Attributes:
        tolerance: of the largest entry of the gradient, relative to W = 0.
        steps: most steps for one cost.
        history: steps that L-BFGS remembers.
    """

    tolerance: float
    steps: int
    history: int


@dataclass(frozen=True)
class Solution:
    """Hold the solution at one cost.

    Attributes:
        index: of the cost in the list that was given.
        weights_CD: W.
        bias_C: b, for features that are not centred.
        objective: the mean loss and the regulariser.
        gradient: its largest entry, relative to W = 0.
        steps: that were taken from the solution before.
        solved: whether the gradient is within the tolerance.
    """

    index: int
    weights_CD: Tensor
    bias_C: Tensor
    objective: float
    gradient: float
    steps: int
    solved: bool


@dataclass(frozen=True)
class _Point:
    """Hold W and b side by side (C, D + 1), and what the objective is there."""

    model: Tensor
    slope: Tensor
    value: float
    unsure: float


def solve_path(
    rows: Rows,
    labels_n: Tensor,
    classes: int,
    costs: Sequence[float],
    found: Spectrum,
    rule: Rule,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Solution]:
    """Solve the problem at every cost.

    Args:
        rows: what is fitted.
        labels_n: class of every row, int64, from 0; every class has one.
        classes: how many there are, two or more.
        costs: positive, in any order.
        found: the spectrum of these rows, from `ssl_bench.solvers.ridge`.
        rule: when a problem counts as solved.
        progress: called with 1 after every cost.

    Yields:
        One `Solution` a cost, from the smallest cost to the largest.
    """
    problem = _Problem(rows, labels_n, classes, found)
    model = problem.start()
    largest = float(problem(model, 0.0).slope[:, :-1].abs().max())
    for index in sorted(range(len(costs)), key=lambda i: costs[i]):
        ridge = 1 / (costs[index] * len(rows))
        point, steps = _minimise(problem, model, ridge, largest, rule)
        model = point.model
        gradient = _largest(point, largest)
        yield Solution(
            index,
            model[:, :-1].contiguous(),
            problem.intercepts(model),
            point.value,
            gradient,
            steps,
            gradient <= rule.tolerance,
        )
        if progress is not None:
            progress(1)


def _largest(point: _Point, start: float) -> float:
    """Return the largest entry of the gradient in W, relative to that at the start."""
    # Where nothing can be learnt, as from features of zeros, both are 0.
    return float(point.slope[:, :-1].abs().max()) / start if start else 0.0


class _Problem:
    """The objective on some rows, and the guess of its curvature."""

    def __init__(
        self, rows: Rows, labels_n: Tensor, classes: int, found: Spectrum
    ) -> None:
        self.rows, self.labels_n, self.classes = rows, labels_n, classes
        self.vectors_DR = found.vectors_DR.to(rows.dtype)
        self.mean_D = found.mean_D.to(rows.dtype)
        self.spread_R = (found.values_R / len(rows)).to(rows.dtype)

    def start(self) -> Tensor:
        """Return weights of zero and the intercepts that are best with them."""
        model = torch.zeros(
            self.classes,
            self.rows.dims + 1,
            dtype=self.rows.dtype,
            device=self.rows.device,
        )
        count_C = torch.bincount(self.labels_n, minlength=self.classes)
        model[:, -1] = (count_C / len(self.rows)).log()
        return model

    def intercepts(self, model: Tensor) -> Tensor:
        """Return the intercepts for features that are not centred."""
        return model[:, -1] - model[:, :-1] @ self.mean_D

    def __call__(self, model: Tensor, ridge: float) -> _Point:
        """Return objective and gradient, from one pass over the rows."""
        weights_CD, bias_C1 = model[:, :-1], self.intercepts(model)[:, None]
        slope = torch.zeros_like(model)
        loss = torch.zeros((), dtype=torch.float64, device=self.rows.device)
        unsure = torch.zeros_like(loss)
        for part, rows_bD in self.rows.blocks():
            label_1b = self.labels_n[part][None]
            scores_Cb = torch.addmm(bias_C1, weights_CD, rows_bD.T)
            logs_Cb = torch.log_softmax(scores_Cb, dim=0)
            told_1b = logs_Cb.gather(0, label_1b)
            loss -= told_1b.sum(dtype=torch.float64)
            unsure += (1 - told_1b.exp()).sum(dtype=torch.float64)
            rest_Cb = torch.threshold_(logs_Cb.exp_(), _NOTHING, 0.0)
            rest_Cb.scatter_add_(0, label_1b, torch.full_like(told_1b, -1))
            slope[:, :-1].addmm_(rest_Cb, rows_bD)
            slope[:, -1] += rest_Cb.sum(1)
        slope[:, :-1].addr_(slope[:, -1], self.mean_D, alpha=-1)
        slope /= len(self.rows)
        slope[:, :-1].add_(weights_CD, alpha=ridge)
        length = float(weights_CD.square().sum(dtype=torch.float64))
        value = float(loss) / len(self.rows) + 0.5 * ridge * length
        return _Point(model, slope, value, float(unsure) / len(self.rows))

    def guess(self, slope: Tensor, unsure: float, ridge: float) -> Tensor:
        """Return the guess of the inverse Hessian times a gradient."""
        curve = max(unsure, _LEAST) / (self.classes - 1)
        turned_CR = slope[:, :-1] @ self.vectors_DR
        turned_CR /= curve * self.spread_R + ridge
        return torch.cat([turned_CR @ self.vectors_DR.T, slope[:, -1:] / curve], dim=1)


def _minimise(
    problem: _Problem, model: Tensor, ridge: float, largest: float, rule: Rule
) -> tuple[_Point, int]:
    """Walk from a start to the optimum; return where the walk ended, and its steps."""
    point = problem(model, ridge)
    # Pairs of a step, what it changed in the gradient, and 1 / their product.
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=rule.history)
    for taken in range(rule.steps):
        if _largest(point, largest) <= rule.tolerance:
            return point, taken
        way = _direction(problem, point, ridge, pairs)
        after = _search(problem, point, way, ridge)
        if after is None:
            return point, taken
        step, change = after.model - point.model, after.slope - point.slope
        product = _dot(step, change)
        if product > 0:
            pairs.append((step, change, 1 / product))
        point = after
    return point, rule.steps


def _direction(
    problem: _Problem,
    point: _Point,
    ridge: float,
    pairs: deque[tuple[Tensor, Tensor, float]],
) -> Tensor:
    """Return minus the estimated inverse Hessian times the gradient."""
    way = point.slope.clone()
    shares = []
    for step, change, inverse in reversed(pairs):
        shares.append(inverse * _dot(step, way))
        way.sub_(change, alpha=shares[-1])
    way = problem.guess(way, point.unsure, ridge)
    if pairs:
        step, change, inverse = pairs[-1]
        guessed = problem.guess(change, point.unsure, ridge)
        way *= 1 / (inverse * _dot(change, guessed))
    for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        way.add_(step, alpha=share - inverse * _dot(change, way))
    return way.neg_()


def _search(
    problem: _Problem, point: _Point, way: Tensor, ridge: float
) -> _Point | None:
    """Return the first point along a way that is low enough; None where none is."""
    slope = _dot(point.slope, way)
    if not slope < 0:
        return None
    rounding = _ROUNDINGS * torch.finfo(way.dtype).eps * abs(point.value)
    length = 1.0
    for _ in range(_HALVINGS):
        after = problem(torch.add(point.model, way, alpha=length), ridge)
        if after.value <= point.value + _DECREASE * length * slope + rounding:
            return after
        length /= 2
    return None


def _dot(first: Tensor, second: Tensor) -> float:
    return float(torch.dot(first.flatten(), second.flatten()))
