"""Rows of a feature matrix as linear classifiers read them: some of them, normalised.

Axes: N images of a split, n images in use, b images read together, D dimensions.

A memory-mapped matrix is read a few rows at a time, each normalised on its way, and
nothing of its size is made but where `Rows.gathered` is allowed to. Where classifiers
are trained on a GPU, the matrix is copied there if it takes at most half of what is
free.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_bench.errors import FeatureError, unknown

NORMS = ("none", "l2", "standard")
"""What may be done to a row: nothing, length one, or every dimension standardised."""

_TOGETHER = 2048


@dataclass(frozen=True)
class Norm:
    """Hold what is done to every row.

    Attributes:
        kind: one of `NORMS`.
        shift_D: is taken away from a row; None where nothing is.
        scale_D: a row is multiplied by it; None where it is not.
    """

    kind: str
    shift_D: Tensor | None = None
    scale_D: Tensor | None = None

    def __call__(self, rows_bD: Tensor) -> Tensor:
        """Return normalised rows; a row of zeros keeps its length."""
        if self.kind == "l2":
            length_b1 = torch.linalg.vector_norm(rows_bD, dim=1, keepdim=True)
            least = torch.finfo(rows_bD.dtype).tiny
            unit_bD: Tensor = rows_bD / length_b1.clamp_min(least)
            return unit_bD
        if self.shift_D is None or self.scale_D is None:
            return rows_bD
        return (rows_bD - self.shift_D) * self.scale_D


PLAIN = Norm("none")


class Rows:
    """Give rows of a matrix, in any order or one block after the other.

    Args:
        feats_ND: the matrix, from `matrix`.
        index_n: which rows take part, int64, ascending; None takes all.
        norm: what is done to them.
        device: where rows are wanted.
    """

    def __init__(
        self,
        feats_ND: Tensor,
        index_n: Tensor | None = None,
        *,
        norm: Norm = PLAIN,
        device: torch.device,
    ) -> None:
        self.device, self.norm = device, norm
        self.dims, self.dtype = feats_ND.shape[1], feats_ND.dtype
        self._feats_ND = feats_ND
        self._index_n = None if index_n is None else index_n.to(feats_ND.device)

    def __len__(self) -> int:
        """The number of rows in use."""
        return len(self._feats_ND if self._index_n is None else self._index_n)

    def take(self, places_b: Tensor) -> Tensor:
        """Return the rows at some places of those in use, (b, D).

        Args:
            places_b: int64, where the matrix lies.
        """
        if self._index_n is not None:
            places_b = self._index_n[places_b]
        rows_bD = torch.index_select(self._feats_ND, 0, places_b)
        return self.norm(rows_bD.to(self.device))

    def places(self, order_n: NDArray[np.int64]) -> Tensor:
        """Return places as `take` wants them."""
        return torch.from_numpy(order_n).to(self._feats_ND.device)

    def blocks(self, together: int = _TOGETHER) -> Iterator[tuple[slice, Tensor]]:
        """Yield all rows in use in their order, each block with its place.

        A block may be the matrix itself and must not be written to.
        """
        for start in range(0, len(self), together):
            part = slice(start, min(start + together, len(self)))
            if self._index_n is None:
                rows_bD = self._feats_ND[part]
            else:
                rows_bD = torch.index_select(self._feats_ND, 0, self._index_n[part])
            yield part, self.norm(rows_bD.to(self.device))

    def gathered(self, memory: int) -> Rows:
        """Return the same rows, normalised once for all, if that is worth it.

        Args:
            memory: bytes that a matrix of them may take; above it, rows are gathered
                and normalised whenever they are read.
        """
        as_they_are = self._index_n is None and self.norm.kind == "none"
        if as_they_are or len(self) * self.dims * self.dtype.itemsize > memory:
            return self
        rows_nD = torch.empty(
            len(self), self.dims, dtype=self.dtype, device=self.device
        )
        for part, rows_bD in self.blocks():
            rows_nD[part] = rows_bD
        return Rows(rows_nD, device=self.device)

    def mean(self) -> Tensor:
        """Return the mean row, float64 (D,)."""
        total_D = torch.zeros(self.dims, dtype=torch.float64, device=self.device)
        for _, rows_bD in self.blocks():
            # Sums of few rows are good in float32, and several times as fast.
            total_D += rows_bD.sum(0)
        return total_D / len(self)

    def with_norm(self, norm: Norm) -> Rows:
        """Return the same rows under another norm."""
        return Rows(self._feats_ND, self._index_n, norm=norm, device=self.device)

    def normalised(self, kind: str) -> Rows:
        """Return the same rows under a norm whose statistics are taken from them.

        A dimension that is the same in all rows says nothing and becomes 0.

        Raises:
            FeatureError: for a norm that nobody knows.
        """
        if kind not in NORMS:
            raise FeatureError(unknown("norm", kind, NORMS))
        if kind == "standard":
            return self.with_norm(_standard(self.with_norm(PLAIN)))
        return self.with_norm(Norm(kind))


def matrix(feats_ND: NDArray[np.floating[Any]], device: torch.device) -> Tensor:
    """Return a matrix as `Rows` takes it; a mapped one stays mapped on the CPU."""
    with warnings.catch_warnings():
        # Nobody writes to it.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        feats = torch.from_numpy(feats_ND)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if 2 * feats.nbytes <= free:
            return feats.to(device)
    return feats


def _standard(rows: Rows) -> Norm:
    """Return the norm that makes mean 0 and variance 1 of every dimension."""
    mean_D = rows.mean()
    shift_D = mean_D.to(rows.dtype)
    square_D = torch.zeros_like(mean_D)
    for _, rows_bD in rows.blocks():
        square_D += (rows_bD - shift_D).square_().sum(0)
    spread_D = (square_D / len(rows)).sqrt()
    # What is rounding beside the mean is no spread.
    least_D = 4 * torch.finfo(rows.dtype).eps * mean_D.abs()
    scale_D = torch.where(spread_D > least_D, 1 / spread_D, 0.0)
    return Norm("standard", shift_D, scale_D.to(rows.dtype))
