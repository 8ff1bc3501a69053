"""Where rows are placed for a search, and what their costs are.

For cosine, rows get length 1; for Euclidean distances they lose the mean of the bank.
All of it is computed in float64, a block of rows at a time, and kept in float32.

Axes: q queries, N or n rows of the bank, D dimensions, P rows for one query.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError

FloatArray = NDArray[np.floating[Any]]

# How far float32 products of equal rows of length 1 come out apart. Seen with up to
# 2048 dimensions (OpenBLAS, MKL, faiss): 1.4e-6 after a ReLU, and 2.3e-6 where all
# numbers of a row are the same, so that every addition rounds the same way.
NOISE = 4e-6
# Numbers that are converted to float64 at a time: 1 MB, which stays in the cache.
BLOCK = 1 << 17
# More threads than this only wait for the memory.
MOST_THREADS = 8
# Cosines are kept to this many binary digits: near 0 float32 would tell apart what
# float64 products leave of an angle of 90 degrees.
DIGITS = 40
# The largest squared norm: |q - b|^2 is at most four times as much, 2 q.b twice.
LARGEST = 2.0**125


def blocks(total: int, size: int) -> Iterator[slice]:
    """Walk over ``range(total)`` in slices of at most ``size``."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def each_block(work: Callable[[slice], None], total: int, dim: int) -> None:
    """Do cache-sized blocks of rows in threads; numpy lets go of the lock meanwhile.

    Args:
        work: called with slices of ``range(total)`` that do not overlap.
        total: number of rows.
        dim: numbers in a row.
    """
    parts = list(blocks(total, max(1, BLOCK // dim)))
    threads = max(1, min(len(parts), os.cpu_count() or 1, MOST_THREADS))

    def every(first: int) -> None:
        for part in parts[first::threads]:
            work(part)

    if threads == 1:
        every(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        # The list makes an error of a thread an error here.
        list(pool.map(every, range(threads)))


@dataclass(frozen=True)
class Geometry:
    """Where rows are placed so that a matrix product gives their costs.

    Attributes:
        metric: "cosine" or "euclidean".
        centre_D: subtracted before a Euclidean search, so that the squared norms are of
            the size of the distances and little cancels (float64).
    """

    metric: str
    centre_D: NDArray[np.float64]

    @classmethod
    def of(cls, metric: str, bank_ND: FloatArray) -> Geometry:
        """Measure the bank, in one pass for a Euclidean search and none for cosine."""
        dim = bank_ND.shape[1]
        centre_D = np.zeros(dim)
        if metric == "cosine":
            return cls(metric, centre_D)
        for part in blocks(len(bank_ND), max(1, BLOCK // dim)):
            rows = bank_ND[part].astype(np.float64)
            _check_finite(np.einsum("nd,nd->n", rows, rows), "bank", part.start)
            centre_D += rows.sum(axis=0)
        return cls(metric, centre_D / len(bank_ND))

    def place64(self, rows: FloatArray, what: str, first: int) -> NDArray[np.float64]:
        """Place rows in float64.

        Args:
            rows: (n, D).
            what: "bank" or "query", for the message.
            first: number of the first row, for the message.

        Returns:
            (n, D) float64: rows of length 1 (zero rows stay zero), or centred rows.

        Raises:
            FeatureError: a row holds NaN or an infinity, or numbers whose squared
                distances do not fit into float32.
        """
        placed = rows.astype(np.float64)
        if self.metric == "cosine":
            squares = np.einsum("nd,nd->n", placed, placed)
            _check_finite(squares, what, first)
            squares[squares == 0] = 1.0
            placed *= (1.0 / np.sqrt(squares))[:, None]
        else:
            placed -= self.centre_D
            squares = np.einsum("nd,nd->n", placed, placed)
            _check_finite(squares, what, first)
            _check_size(squares, what, first)
        return placed

    def place32(
        self, rows: FloatArray, out: NDArray[np.float32], what: str, first: int
    ) -> NDArray[np.float32]:
        """Place rows in float32, block by block.

        Args:
            rows: (n, D).
            out: (at least n, D) float32, reused from call to call.
            what: "bank" or "query", for the message.
            first: number of the first row, for the message.

        Returns:
            The first n rows of ``out``.

        Raises:
            FeatureError: a row holds NaN or an infinity.
        """

        def place(part: slice) -> None:
            out[part] = self.place64(rows[part], what, first + part.start)

        each_block(place, len(rows), rows.shape[1])
        return out[: len(rows)]

    def noise(
        self, placed_qD: NDArray[np.float32], costs_q: FloatArray
    ) -> NDArray[np.float64]:
        """Bound by how much rounding may swap two costs near the given one.

        The error of ``|q|^2 + |b|^2 - 2 q.b`` is relative to the squared norms; |b| is
        at most |q| + d, hence |q|^2 + |b|^2 <= 3 |q|^2 + 2 d^2 for a row at distance d.

        Args:
            placed_qD: (q, D) queries as they were searched.
            costs_q: (q,) float32 costs.

        Returns:
            (q,) float64.
        """
        if self.metric == "cosine":
            return np.full(len(costs_q), NOISE)
        squares = np.einsum("qd,qd->q", placed_qD, placed_qD).astype(np.float64)
        bound: NDArray[np.float64] = 3 * squares + 2 * costs_q.astype(np.float64)
        return NOISE * bound

    def costs(self, query_D: FloatArray, rows_PD: FloatArray) -> NDArray[np.float64]:
        """Compute costs directly, in float64, from rows as they came.

        Args:
            query_D: (D,) one query.
            rows_PD: (P, D).

        Returns:
            (P,) float64: negated cosine, or squared distance in the units of the rows.
        """
        query = query_D.astype(np.float64)
        rows = rows_PD.astype(np.float64)
        if self.metric == "euclidean":
            rows -= query
            return np.asarray(np.einsum("pd,pd->p", rows, rows))
        squares = np.einsum("pd,pd->p", rows, rows) * (query @ query)
        squares[squares == 0] = 1.0
        return rounded(-np.einsum("pd,d->p", rows, query) / np.sqrt(squares))


def rounded(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round cosines, in place, to the digits in which equal ones are equal."""
    cosines *= 2.0**DIGITS
    np.rint(cosines, out=cosines)
    cosines *= 2.0**-DIGITS
    return cosines


def _check_finite(squares: NDArray[np.float64], what: str, first: int) -> None:
    bad = np.flatnonzero(~np.isfinite(squares))
    if len(bad):
        raise FeatureError(
            f"row {first + int(bad[0])} of the {what} features holds NaN or an "
            "infinity; features must be finite numbers; look at that image and at the "
            "precision of the backbone (fp16 overflows), or extract with --dtype fp32"
        )


def _check_size(squares: NDArray[np.float64], what: str, first: int) -> None:
    bad = np.flatnonzero(squares > LARGEST)
    if len(bad):
        raise FeatureError(
            f"row {first + int(bad[0])} of the {what} features lies "
            f"{np.sqrt(squares[bad[0]]):.2g} from their mean, so that squared "
            "distances do not fit into float32; divide the features by a constant, or "
            "use cosine"
        )
