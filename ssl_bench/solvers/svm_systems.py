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

    def product(self, columns_NP: Tensor) -> Tensor:
        """Return K times columns as float64, computed in float32."""
        return self.kernel.single(columns_NP.float()).double()

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

    def direction(
        self,
        active_NP: Tensor,
        diagonal_NP: Tensor,
        residual_NP: Tensor,
        inner: float,
    ) -> tuple[Tensor, Tensor]:
        """Solve (K_AA + D_A) x = r by preconditioned conjugate gradients, and K x."""
        residual = residual_NP.float()
        diagonal = torch.where(active_NP, diagonal_NP, 0.0).float()
        mask = active_NP.float()
        inverse_NP = mask / (diagonal + self.rest_N1)
        factors_PRR = self._factors(inverse_NP)
        found = torch.zeros_like(residual)
        image = torch.zeros_like(residual)
        better = self._precondition(residual, inverse_NP, factors_PRR)
        search = better
        power_P = (residual * better).sum(0)
        enough_P = inner * power_P
        for _ in range(self.rule.inner_steps):
            product = self.kernel.single(search)
            curved = product * mask + diagonal * search
            length_P = power_P / (search * curved).sum(0).clamp_min(1e-37)
            found = found + length_P * search
            image = image + length_P * product
            residual = residual - length_P * curved
            better = self._precondition(residual, inverse_NP, factors_PRR)
            left_P = (residual * better).sum(0)
            if bool((left_P <= enough_P).all()):
                break
            search = better + left_P / power_P.clamp_min(1e-37) * search
            power_P = left_P
        return found.double(), image.double()

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
        return divided - inverse_NP * (scaled_NR @ solved_PR1[:, :, 0].T)


class Blocks:
    """Solve Newton's systems of problems with a few images each, by Cholesky."""

    def __init__(self, blocks_Pnn: Tensor) -> None:
        self.blocks_Pnn = blocks_Pnn
        self.largest = float(blocks_Pnn.diagonal(dim1=1, dim2=2).sum(1).max())

    def decisions(self, duals_NP: Tensor) -> Tensor:
        """Return f, computed in float64."""
        return torch.bmm(self.blocks_Pnn, duals_NP.T[:, :, None])[:, :, 0].T

    product = decisions

    def gap(self, residual_NP: Tensor) -> Tensor:
        """Return r'K r / 2."""
        return 0.5 * (residual_NP * self.decisions(residual_NP)).sum(0)

    def direction(
        self,
        active_NP: Tensor,
        diagonal_NP: Tensor,
        residual_NP: Tensor,
        inner: float,
    ) -> tuple[Tensor, Tensor]:
        """Solve (K_AA + D_A) x = r, and K x; rows outside A become those of 1."""
        del inner  # solved exactly
        mask_Pn = active_NP.T.double()
        system = self.blocks_Pnn * mask_Pn[:, :, None] * mask_Pn[:, None, :]
        diagonal_Pn = torch.where(active_NP, diagonal_NP, 1.0).T
        system.diagonal(dim1=1, dim2=2).add_(diagonal_Pn)
        factor = torch.linalg.cholesky(system)
        right_Pn1 = residual_NP.T[:, :, None] * mask_Pn[:, :, None]
        found = torch.cholesky_solve(right_Pn1, factor)[:, :, 0].T.contiguous()
        return found, self.decisions(found)

    def some(self, kept_P: Tensor) -> Blocks:
        """Return the same for some of the problems."""
        return Blocks(self.blocks_Pnn[kept_P])
