"""Newton's systems of many SVMs: products with K, and solutions on active images.

Axes: N images, n images of one problem, P problems, R eigenvectors. The derivation is
in `ssl_bench.solvers.svm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_bench.solvers.svm_kernel import Kernel, Spectrum


@dataclass(frozen=True)
class Rule:
    """Say when a problem counts as solved.

    Attributes:
        tolerance: largest duality gap, relative to (w'w + b^2) / 2.
        steps: most Newton steps for one cost.
        inner: residual at which conjugate gradients stop, relative to its start.
        inner_steps: most of their steps.
    """

    tolerance: float
    steps: int
    inner: float
    inner_steps: int


class Shared:
    """Solve Newton's systems of problems that share all images, by products with K."""

    def __init__(self, kernel: Kernel, spectrum: Spectrum, rule: Rule) -> None:
        self.kernel, self.spectrum, self.rule = kernel, spectrum, rule
        self.rest_N1 = spectrum.rest_N[:, None]
        self.largest = float(spectrum.values_R[0])

    def decisions(self, duals_NP: Tensor) -> Tensor:
        """Return f, computed in float64."""
        return self.kernel.double(duals_NP)

    def gap(self, residual_NP: Tensor) -> Tensor:
        """Bound r'K r / 2 without a product with K.

        With r = u + v, u in the span of the eigenvectors: r'K r <= 2 u'K u + 2 v'K v.
        """
        residual = residual_NP.float()
        scaled_RP = self.spectrum.scaled_NR.T @ residual
        inside_P = (scaled_RP.square() / self.spectrum.values_R[:, None]).sum(0)
        outside_P = (residual.square().sum(0) - inside_P).clamp_min(0)
        bound_P = scaled_RP.square().sum(0) + self.spectrum.bound * outside_P
        return bound_P.to(torch.float64)

    def step(
        self,
        active_NP: Tensor,
        curves_NP: Tensor,
        duals_NP: Tensor,
        missing_NP: Tensor,
        inner: float,
    ) -> tuple[Tensor, Tensor]:
        """Solve Newton's system by preconditioned conjugate gradients.

        What leaves the active set changes the right-hand side by a product with K. It
        is first approximated by the eigenvectors, for a first guess, so that one
        product serves both the guess and what leaves.

        Args:
            active_NP: the active images.
            curves_NP: 2 C s, above 0 there.
            duals_NP: a.
            missing_NP: y - f.
            inner: at which part of its start the residual is small enough.

        Returns:
            The change of a, and K times it.
        """
        mask = active_NP.float()
        diagonal = curves_NP.float().reciprocal_()
        diagonal.masked_fill_(~active_NP, 0.0)
        inverse_NP = mask / (diagonal + self.rest_N1)
        factors_PRR = self._factors(inverse_NP)
        # In float64: near the optimum this is a small difference.
        residual = torch.addcdiv(missing_NP, duals_NP, curves_NP, value=-1).float()
        residual.masked_fill_(~active_NP, 0.0)
        away = duals_NP.float().masked_fill_(active_NP, 0.0)
        scaled_NR = self.spectrum.scaled_NR
        guess = residual + mask * (scaled_NR @ (scaled_NR.T @ away))
        search = self._precondition(guess, inverse_NP, factors_PRR)
        enough_P = inner * guess.mul_(search).sum(0)
        found = search - away
        del guess, away
        image = self.kernel.single(found)
        residual -= mask * image
        residual.addcmul_(diagonal, search, value=-1)
        better = self._precondition(residual, inverse_NP, factors_PRR)
        power_P = (residual * better).sum(0)
        search = better
        for _ in range(self.rule.inner_steps):
            if bool((power_P <= enough_P).all()):
                break
            product = self.kernel.single(search)
            curved = (product * mask).addcmul_(diagonal, search)
            length_P = power_P / (search * curved).sum(0).clamp_min(1e-37)
            found.addcmul_(search, length_P)
            image.addcmul_(product, length_P)
            residual.addcmul_(curved, length_P, value=-1)
            better = self._precondition(residual, inverse_NP, factors_PRR)
            left_P = (residual * better).sum(0)
            search = better.addcmul_(search, left_P / power_P.clamp_min(1e-37))
            power_P = left_P
        change = found.double()
        return torch.where(active_NP, change, -duals_NP), image.double()

    def _factors(self, inverse_NP: Tensor) -> Tensor:
        scaled_NR = self.spectrum.scaled_NR
        small = torch.stack(
            [scaled_NR.T @ (scaled_NR * column[:, None]) for column in inverse_NP.T]
        )
        small.diagonal(dim1=1, dim2=2).add_(1.0)
        factors: Tensor = torch.linalg.cholesky(small)
        return factors

    def _precondition(
        self, columns_NP: Tensor, inverse_NP: Tensor, factors_PRR: Tensor
    ) -> Tensor:
        scaled_NR = self.spectrum.scaled_NR
        divided = inverse_NP * columns_NP
        inner_PR1 = (scaled_NR.T @ divided).T[:, :, None]
        solved_PR1 = torch.cholesky_solve(inner_PR1, factors_PRR)
        inside = scaled_NR @ solved_PR1[:, :, 0].T
        return divided.addcmul_(inverse_NP, inside, value=-1)


class Blocks:
    """Solve Newton's systems of problems with a few images each, by Cholesky."""

    def __init__(self, blocks_Pnn: Tensor) -> None:
        self.blocks_Pnn = blocks_Pnn
        self.largest = float(blocks_Pnn.diagonal(dim1=1, dim2=2).sum(1).max())

    def decisions(self, duals_NP: Tensor) -> Tensor:
        """Return f, computed in float64."""
        return torch.bmm(self.blocks_Pnn, duals_NP.T[:, :, None])[:, :, 0].T

    def gap(self, residual_NP: Tensor) -> Tensor:
        """Return r'K r / 2."""
        return 0.5 * (residual_NP * self.decisions(residual_NP)).sum(0)

    def step(
        self,
        active_NP: Tensor,
        curves_NP: Tensor,
        duals_NP: Tensor,
        missing_NP: Tensor,
        inner: float,
    ) -> tuple[Tensor, Tensor]:
        """Solve Newton's system, as `Shared.step`; rows outside A become those of 1."""
        del inner  # solved exactly
        away_NP = torch.where(active_NP, 0.0, duals_NP)
        diagonal_NP = torch.where(active_NP, 1 / curves_NP, 1.0)
        right_NP = missing_NP - duals_NP * diagonal_NP
        if bool(away_NP.any()):
            right_NP = right_NP + self.decisions(away_NP)
        mask_Pn = active_NP.T.double()
        system = self.blocks_Pnn * mask_Pn[:, :, None] * mask_Pn[:, None, :]
        system.diagonal(dim1=1, dim2=2).add_(diagonal_NP.T)
        factor = torch.linalg.cholesky(system)
        right_Pn1 = right_NP.T[:, :, None] * mask_Pn[:, :, None]
        found = torch.cholesky_solve(right_Pn1, factor)[:, :, 0].T - away_NP
        return found, self.decisions(found)

    def some(self, kept_P: Tensor) -> Blocks:
        """Return the same for some of the problems."""
        return Blocks(self.blocks_Pnn[kept_P])
