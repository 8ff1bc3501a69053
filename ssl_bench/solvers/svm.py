r"""L2-regularised linear SVMs with squared hinge loss: thousands at once.

Axes: N images, n images of one problem, P problems, R eigenvectors.

Every problem has the same images, labels y of its own, weights s of its own (0 leaves
an image out) and a cost C. It is liblinear's, with the intercept b regularised as one
more weight::

    min over w, b:  (w'w + b^2) / 2 + C sum_i s_i max(0, 1 - y_i (w'x_i + b))^2

With K = X X' + 1 and (w, b) = (X, 1)' a it becomes a problem in one number a_i an
image: decisions are f = K a, the regulariser is a'K a / 2. An image is active if
s_i > 0 and y_i f_i < 1. Let b_i = 2 C s_i y_i max(0, 1 - y_i f_i). Then

* the optimum is the fixed point a = b, and 0 elsewhere than at active images;
* b is feasible in the dual problem, and the duality gap is (b - a)' K (b - a) / 2,
  which says how far the primal objective can be from its optimum, and bounds half the
  squared distance of (w, b) to the best one. It is compared with a'K a / 2 and not with
  the objective: at the smallest costs that is nearly all loss, whatever w is;
* Newton's step solves, for the active set A and D = 1 / (2 C s):
  (K_AA + D_A) a_A = y_A, and a = 0 outside. A step is halved until the objective, a
  parabola of pieces along it, does not grow.

All problems of one cost go together: conjugate gradients turn the products of every
problem with K into one matrix product. K has few large eigenvalues and a flat rest, so
that its leading eigenvectors U, found once for all problems, make the preconditioner
``U L U'_AA + rest_A + D_A``, which the formula of Woodbury inverts; without it, large
costs need some five times as many products. Costs are walked from the smallest to the
largest, each from the solution before: while every image is active, a is nearly
proportional to C.

Search directions need no more than float32. Decisions are float64, and are computed
anew from a in float64 where the rounding of float32 products could be seen in the gap,
which is only at large costs: there a'K a is a small difference of large terms.

Problems with few images each (low-shot) are solved by Cholesky in float64, each on its
own rows of K.

Source: Keerthi and DeCoste 2005, JMLR 6, 341-361 (Newton on the active set of the
    squared hinge); Chapelle 2007, Neural Computation 19(5), 1155-1178 (in the primal,
    with kernels); Fan et al. 2008, JMLR 9, 1871-1874 (liblinear, solvers 1 and 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.solvers.svm_kernel import Kernel, Spectrum
from ssl_bench.solvers.svm_systems import Blocks, Rule, Shared

__all__ = ["Rule", "Solution", "solve_blocks", "solve_shared"]

_SINGLE = 2.0**-24
_ROUNDING = 8.0
"""Roundings of a float32 product of a length of thousands, beside its own."""

_LEAST = 1e-12
_HALVINGS = 20
_SHORT_STEP = 0.2
_TIGHTER = 1e-2
_TIGHTEST = 1e-12


@dataclass(frozen=True)
class Solution:
    """Hold the solutions of all problems at one cost.

    Attributes:
        index: of the cost in the list that was given.
        duals_NP: a, float64; 0 for images that do not matter.
        decisions_NP: f, float64, of all images, also of those left out.
        gaps_P: bound of the duality gap relative to (w'w + b^2) / 2.
        solved_P: whether it is within the tolerance.
    """

    index: int
    duals_NP: Tensor
    decisions_NP: Tensor
    gaps_P: Tensor
    solved_P: Tensor


def solve_shared(
    kernel: Kernel,
    spectrum: Spectrum,
    signs_NP: Tensor,
    weights_NP: Tensor,
    costs: Sequence[float],
    rule: Rule,
) -> Iterator[Solution]:
    """Solve problems that share all images, cost after cost.

    Args:
        kernel: of the images.
        spectrum: its leading eigenpairs.
        signs_NP: labels, +1 or -1, float64.
        weights_NP: weights, 0 for images that a problem leaves out, float64.
        costs: positive, in any order.
        rule: when a problem counts as solved.

    Yields:
        One `Solution` a cost, from the smallest cost to the largest.
    """
    yield from _walk(Shared(kernel, spectrum, rule), signs_NP, weights_NP, costs, rule)


def solve_blocks(
    kernel: Kernel,
    rows_Pn: Tensor,
    signs_nP: Tensor,
    weights_nP: Tensor,
    costs: Sequence[float],
    rule: Rule,
) -> Iterator[Solution]:
    """Solve problems with few images each, cost after cost.

    Args:
        kernel: of all images.
        rows_Pn: images of each problem, int64; what pads a shorter list weighs 0.
        signs_nP: labels, +1 or -1, float64.
        weights_nP: weights, float64.
        costs: positive, in any order.
        rule: when a problem counts as solved.

    Yields:
        One `Solution` a cost, over the images of the problems, smallest cost first.
    """
    yield from _walk(Blocks(kernel.block(rows_Pn)), signs_nP, weights_nP, costs, rule)


def _walk(
    system: Shared | Blocks,
    signs_NP: Tensor,
    weights_NP: Tensor,
    costs: Sequence[float],
    rule: Rule,
) -> Iterator[Solution]:
    duals = torch.zeros_like(signs_NP)
    decisions = torch.zeros_like(signs_NP)
    begun = False
    for index in sorted(range(len(costs)), key=lambda i: costs[i]):
        cost = costs[index]
        if begun and bool(((signs_NP * decisions < 1) | (weights_NP == 0)).all()):
            # Every image is active: the solution grows with the cost until it binds.
            factor_P = _stretch(signs_NP, weights_NP, decisions, duals, cost)
            duals, decisions = duals * factor_P, decisions * factor_P
        begun = True
        duals, decisions, gaps_P = _newton(
            system, signs_NP, weights_NP * (2 * cost), duals, decisions, rule
        )
        yield Solution(index, duals, decisions, gaps_P, gaps_P <= rule.tolerance)


def _stretch(
    signs_NP: Tensor,
    weights_NP: Tensor,
    decisions_NP: Tensor,
    duals_NP: Tensor,
    cost: float,
) -> Tensor:
    """Return the multiple of a solution that is best at another cost.

    All images are active: along t times a solution the objective is the parabola
    t^2 a'K a / 2 + C sum s (1 - t y f)^2, least at 2 C s'yf / (a'K a + 2 C s'f^2).
    """
    square_P = (duals_NP * decisions_NP).sum(0)
    pull_P = 2 * cost * (weights_NP * signs_NP * decisions_NP).sum(0)
    curve_P = square_P + 2 * cost * (weights_NP * decisions_NP.square()).sum(0)
    return torch.where(curve_P > 0, pull_P / curve_P.clamp_min(1e-300), 1.0)


def _newton(
    system: Shared | Blocks,
    signs_NP: Tensor,
    curves_NP: Tensor,
    duals_NP: Tensor,
    decisions_NP: Tensor,
    rule: Rule,
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk from a start to the optimum of every problem.

    Args:
        system: solves Newton's systems.
        signs_NP: labels.
        curves_NP: 2 C s.
        duals_NP: a of the start.
        decisions_NP: f of the start.
        rule: when to stop.

    Returns:
        a, f and the relative gaps.
    """
    ends_NP, outs_NP = duals_NP.clone(), decisions_NP.clone()
    gaps_P = torch.full_like(duals_NP[0], float("inf"))
    live_P = torch.arange(duals_NP.shape[1], device=duals_NP.device)
    y, curve, a, f = signs_NP, curves_NP, duals_NP, decisions_NP
    exact = torch.zeros_like(gaps_P, dtype=torch.bool)
    inner = rule.inner
    for step in range(rule.steps + 1):
        short, objective_P, gap_P = _measure(system, y, curve, a, f)
        done_P = gap_P <= rule.tolerance
        blurred_P = done_P & ~exact & _blurred(system, a, f, curve, rule)
        if bool(blurred_P.any()):
            # Float32 cannot tell: look again at decisions made in float64.
            f = f.clone()
            f[:, blurred_P] = system.decisions(a[:, blurred_P])
            exact = exact | blurred_P
            short, objective_P, gap_P = _measure(system, y, curve, a, f)
            done_P = gap_P <= rule.tolerance
        gaps_P[live_P] = gap_P
        if step == rule.steps:
            done_P = torch.ones_like(done_P)
        if bool(done_P.any()):
            ends_NP[:, live_P[done_P]] = a[:, done_P]
            outs_NP[:, live_P[done_P]] = f[:, done_P]
            kept = ~done_P
            if not bool(kept.any()):
                break
            live_P, exact = live_P[kept], exact[kept]
            y, curve, a, f = y[:, kept], curve[:, kept], a[:, kept], f[:, kept]
            short, objective_P = short[:, kept], objective_P[kept]
            if isinstance(system, Blocks):
                system = system.some(kept)
        a, f, length_P = _step(system, y, curve, a, f, short > 0, objective_P, inner)
        # A direction that is not solved well enough may lead uphill.
        steep = float(length_P.min()) < _SHORT_STEP
        inner = max(inner * _TIGHTER, _TIGHTEST) if steep else rule.inner
        precise = exact | _blurred(system, a, f, curve, rule)
        if bool(precise.any()):
            f[:, precise] = system.decisions(a[:, precise])
            exact = precise
    return ends_NP, outs_NP, gaps_P


def _measure(
    system: Shared | Blocks, y: Tensor, curve: Tensor, a: Tensor, f: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return max(0, 1 - y f) (N, P), the objective and the relative gap (P,)."""
    short = _short(y, f).masked_fill_(curve <= 0, 0.0)
    length_P = 0.5 * (a * f).sum(0)
    objective_P = length_P + 0.5 * (curve * short.square()).sum(0)
    # Where K is nearly singular a'K a can round to nothing.
    against_P = torch.maximum(length_P, _LEAST * objective_P).clamp_min(1e-300)
    gap_P = system.gap((curve * y).mul_(short).sub_(a)) / against_P
    return short, objective_P, gap_P


def _blurred(
    system: Shared | Blocks, a_NP: Tensor, f_NP: Tensor, curve_NP: Tensor, rule: Rule
) -> Tensor:
    """Tell for which problems the rounding of float32 products could hide a gap.

    A product is off by about its roundings times the length of a; b - a is off by that
    times 2 C s, and r'K r by at most the largest eigenvalue times its square.
    """
    if isinstance(system, Blocks):
        return torch.zeros(a_NP.shape[1], dtype=torch.bool, device=a_NP.device)
    off_P = _ROUNDING * _SINGLE * a_NP.square().sum(0).sqrt()
    hidden_P = 0.5 * system.largest * (curve_NP.square().sum(0) * off_P.square())
    return hidden_P > rule.tolerance * 0.5 * (a_NP * f_NP).sum(0)


def _step(
    system: Shared | Blocks,
    y: Tensor,
    curve: Tensor,
    a: Tensor,
    f: Tensor,
    active: Tensor,
    objective_P: Tensor,
    inner: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one damped Newton step; all arrays are (N, P), but the step lengths."""
    step, change = system.step(active, curve, a, y - f, inner)
    slope_P = (step * f).sum(0)
    bend_P = 0.5 * (step * change).sum(0)
    start_P = 0.5 * (a * f).sum(0)
    length_P = torch.ones_like(slope_P)
    for _ in range(_HALVINGS):
        short = _short(y, torch.addcmul(f, change, length_P))
        value_P = (
            start_P
            + length_P * slope_P
            + length_P.square() * bend_P
            + 0.5 * short.square_().mul_(curve).sum(0)
        )
        worse_P = value_P > objective_P * (1 + 1e-12)
        if not bool(worse_P.any()):
            break
        length_P = torch.where(worse_P, 0.5 * length_P, length_P)
    return (
        torch.addcmul(a, step, length_P),
        torch.addcmul(f, change, length_P),
        length_P,
    )


def _short(y: Tensor, f: Tensor) -> Tensor:
    """Return max(0, 1 - y f)."""
    return (y * f).neg_().add_(1).clamp_min_(0)
