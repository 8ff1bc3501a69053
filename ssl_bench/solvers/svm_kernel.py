"""The Gram matrix that all binary problems of an SVM evaluation share.

Axes: N images, D dimensions, P problems, R eigenvectors.

Features are scaled to length one, and one entry 1 is appended to each, which is
liblinear's regularised intercept; their inner products are ``K = X X' + 1``. Where K
fits into memory it is held twice, in float64 for residuals and in float32 for search
directions; else its products are computed from the features, two matrix products each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SLICE = 1024
"""Dimensions whose products are summed in float32 before float64 takes them."""

_EXACT = 1024
"""Up to so many images float64 costs nothing that is felt."""

_BLOCK = 2048
_ROWS = 256
"""Images that are brought to float64 together."""

_COLUMNS = 1024

_OVERSAMPLING = 16
_ROUNDS = 3
_LEAST_REST = 1e-3
_SAFETY = 1.5


@dataclass(frozen=True)
class Spectrum:
    """Hold the leading eigenpairs of K, approximately.

    Attributes:
        scaled_NR: eigenvectors times the roots of their eigenvalues, float32.
        values_R: eigenvalues, the largest first, float32.
        rest_N: what the diagonal of K has beside them.
        bound: no eigenvalue outside is larger; from Ritz values, with a margin.
    """

    scaled_NR: Tensor
    values_R: Tensor
    rest_N: Tensor
    bound: float


class Kernel:
    """Give products with K.

    Args:
        feats_ND: float32 features, one row an image; memory-mapped ones stay so.
        epsilon: is added to a row's length before it is divided by it.
        device: where products are computed.
        memory: bytes that K may take; above it products come from the features.
        others_MD: features of other images whose products with these are wanted; they
            become ``across_NM``.
    """

    def __init__(
        self,
        feats_ND: NDArray[np.float32],
        *,
        epsilon: float,
        device: str,
        memory: int,
        others_MD: NDArray[np.float32] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.epsilon = epsilon
        self.size = len(feats_ND)
        self.explicit = 12 * self.size**2 <= memory
        self.double_NN: Tensor | None = None
        self.single_NN: Tensor | None = None
        self._source_ND = feats_ND
        scaled_ND = normalised(feats_ND, epsilon, self.device)
        self.across_NM: Tensor | None = None
        if others_MD is not None:
            self.across_NM = self._across(scaled_ND, others_MD)
        if self.explicit:
            self.double_NN = _gram(scaled_ND)
            self.single_NN = self.double_NN.float()
        # Where K is there, the features are hardly needed, and take as much memory.
        self._scaled_ND = None if self.explicit else scaled_ND

    def features(self) -> Tensor:
        """Return the features divided by their lengths, (N, D) float32."""
        if self._scaled_ND is not None:
            return self._scaled_ND
        return normalised(self._source_ND, self.epsilon, self.device)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the features in float64, some images at a time."""
        for start in range(0, self.size, _ROWS):
            rows = slice(start, start + _ROWS)
            part = (
                normalised(self._source_ND[rows], self.epsilon, self.device)
                if self._scaled_ND is None
                else self._scaled_ND[rows]
            )
            yield rows, part.double()

    def single(self, columns_NP: Tensor) -> Tensor:
        """Return K times float32 columns, in float32."""
        if self.single_NN is not None:
            return self.single_NN @ columns_NP
        feats_ND = self.features()
        return feats_ND @ (feats_ND.T @ columns_NP) + columns_NP.sum(0)

    def double(self, columns_NP: Tensor) -> Tensor:
        """Return K times float64 columns, in float64."""
        if self.double_NN is not None:
            return self.double_NN @ columns_NP
        weights_DP, intercepts_P = self.primal(columns_NP)
        return torch.cat([x @ weights_DP for _, x in self._blocks()]) + intercepts_P

    def block(self, rows_Pn: Tensor) -> Tensor:
        """Return K among a few images of each problem, (P, n, n) float64."""
        if self.double_NN is not None:
            return self.double_NN[rows_Pn[:, :, None], rows_Pn[:, None, :]]
        feats_ND = self.features()
        picked = [feats_ND[rows].double() for rows in rows_Pn]
        return torch.stack([x @ x.T + 1 for x in picked])

    def diagonal(self) -> Tensor:
        """Return the diagonal of K, float32 (N,)."""
        if self.single_NN is not None:
            return self.single_NN.diagonal().clone()
        return torch.cat([x.square().sum(1) + 1 for _, x in self._blocks()]).float()

    def rows(self, index_n: Tensor) -> Tensor:
        """Return rows of K, (n, N) float32."""
        if self.single_NN is not None:
            return self.single_NN[index_n]
        feats_ND = self.features()
        return feats_ND[index_n] @ feats_ND.T + 1

    def primal(self, duals_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (D, P) and intercepts (P,) of float64 duals."""
        dims, problems = self._source_ND.shape[1], duals_NP.shape[1]
        weights_DP = torch.zeros(
            dims, problems, dtype=torch.float64, device=self.device
        )
        for rows, feats_nD in self._blocks():
            weights_DP += feats_nD.T @ duals_NP[rows]
        return weights_DP, duals_NP.sum(0)

    def decide(
        self, others_MD: NDArray[np.float32], weights_DP: Tensor, intercepts_P: Tensor
    ) -> Tensor:
        """Return the decisions on other images, (M, P) float64."""
        # One result for all: small ones between large blocks would keep memory apart.
        found = torch.empty(
            len(others_MD),
            weights_DP.shape[1],
            dtype=torch.float64,
            device=self.device,
        )
        for start in range(0, len(others_MD), _ROWS):
            rows = slice(start, start + _ROWS)
            part = normalised(others_MD[rows], self.epsilon, self.device)
            found[rows] = part.double() @ weights_DP
        return found + intercepts_P

    def across(self, others_MD: NDArray[np.float32]) -> Tensor:
        """Return the inner products of these images with others, (N, M) float32.

        Without the 1 for the intercept: decisions made of them are off by a constant,
        and the rounding of float32 does not take its share from their differences.
        """
        if self.across_NM is None:
            self.across_NM = self._across(self.features(), others_MD)
        return self.across_NM

    def _across(self, feats_ND: Tensor, others_MD: NDArray[np.float32]) -> Tensor:
        found = torch.empty(len(feats_ND), len(others_MD), device=self.device)
        for start in range(0, len(others_MD), _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            block = normalised(others_MD[columns], self.epsilon, self.device)
            found[:, columns] = feats_ND @ block.T
        return found

    def spectrum(self, rank: int, seed: int) -> Spectrum:
        """Return the leading eigenpairs by subspace iteration on a random start.

        Args:
            rank: how many; fewer where there are fewer images.
            seed: of the random start.

        Source: Halko, Martinsson and Tropp 2011, arXiv:0909.4061, algorithm 4.4.
        """
        kept = min(rank, self.size)
        width = min(kept + _OVERSAMPLING, self.size)
        draw = torch.Generator().manual_seed(seed)
        basis = torch.randn(self.size, width, generator=draw).to(self.device)
        for _ in range(_ROUNDS):
            basis = torch.linalg.qr(self.single(basis))[0]
        small = (basis.T @ self.single(basis)).double()
        values, vectors = torch.linalg.eigh((small + small.T) / 2)
        order = values.argsort(descending=True)[:kept]
        values = values[order].clamp_min(_LEAST_REST)
        scaled = basis @ (vectors[:, order] * values.sqrt()).float()
        rest = (self.diagonal() - scaled.square().sum(1)).clamp_min(_LEAST_REST)
        return Spectrum(scaled, values.float(), rest, _SAFETY * float(values[-1]))


def normalised(
    feats_ND: NDArray[np.float32], epsilon: float, device: torch.device
) -> Tensor:
    """Return features divided by their length plus ``epsilon``, float32."""
    feats = torch.from_numpy(np.array(feats_ND, dtype=np.float32)).to(device)
    for start in range(0, len(feats), _ROWS):
        block = feats[start : start + _ROWS]
        lengths = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
        block /= (lengths[:, None] + epsilon).float()
    return feats


def _gram(feats_ND: Tensor) -> Tensor:
    """Return K in float64; of many images summed in float32 over slices of dimensions.

    A slice's product is a small part of the whole, so that the sum of many is good to
    about 1e-8, at the speed of float32.
    """
    count, dims = feats_ND.shape
    if count <= _EXACT:
        exact_ND = feats_ND.double()
        return exact_ND @ exact_ND.T + 1
    gram = torch.ones(count, count, dtype=torch.float64, device=feats_ND.device)
    for row in range(0, count, _BLOCK):
        block = feats_ND[row : row + _BLOCK]
        for start in range(0, dims, _SLICE):
            part = feats_ND[: row + len(block), start : start + _SLICE]
            gram[row : row + len(block), : row + len(block)] += (
                block[:, start : start + _SLICE] @ part.T
            )
        gram[:row, row : row + len(block)] = gram[row : row + len(block), :row].T
    return gram
