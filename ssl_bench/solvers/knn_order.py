"""The order of neighbours: by cost, then by index, whatever a backend rounds.

A *cost* is what a search makes small: the negated cosine similarity, or the squared
Euclidean distance. A matrix product rounds each cost, and it rounds equal rows
unequally (a row in the remainder of a block goes through another kernel), so that
float32 products alone can say neither which costs are equal nor which of the equal rows
come first. Here costs that lie within that rounding of each other are computed again in
float64, and two costs are equal when they agree after rounding to float32.

Axes: Q or q queries, N or n rows of the bank, K neighbours kept, L candidates, D
dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bench.solvers.knn_geometry import (
    FloatArray,
    Geometry,
    blocks,
    each_block,
    rounded,
)

Keys = NDArray[np.int64]

# Candidates beyond k: a tie that runs past all of them is settled by a second pass.
SLACK = 24
# The second pass works in float64 on blocks of this many rows and queries.
EXACT_BLOCK = 2048
# What float64 leaves of a squared distance of 0 that is computed from norms and
# products, relative to the squared norms.
RESIDUE = 1e-13

_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1
NOBODY = np.iinfo(np.int64).max


def pack(costs: FloatArray, indices: NDArray[np.int64]) -> Keys:
    """Make one integer of a cost and an index that sorts by both.

    The bits of float32, read as an integer, have the order of the numbers themselves
    once those of the negative ones are flipped; the index fills the lower half.

    Args:
        costs: any shape; rounded to float32; no NaN.
        indices: the same shape, 0 <= index < 2**32.

    Returns:
        int64 keys of the same shape: smaller cost first, then smaller index.
    """
    # Adding zero turns -0.0, which has other bits, into 0.0.
    bits = (costs.astype(np.float32) + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = bits.astype(np.int64)
    keys <<= _INDEX_BITS
    keys |= indices
    return keys


def unpack(keys: Keys) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Undo ``pack``.

    Args:
        keys: any shape.

    Returns:
        Costs (float32) and indices (int64); cost inf and index -1 where nobody is.
    """
    bits = (keys >> _INDEX_BITS).astype(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    costs = bits.view(np.float32)
    indices = keys & _INDEX_MASK
    nobody = keys == NOBODY
    costs[nobody] = np.inf
    indices[nobody] = -1
    return costs, indices


def best(keys_QM: Keys, count: int) -> Keys:
    """Keep the ``count`` smallest keys of every row, in no order; in place."""
    if keys_QM.shape[1] <= count:
        return keys_QM
    keys_QM.partition(count - 1, axis=1)
    return keys_QM[:, :count]


class Neighbours(NamedTuple):
    """What a search found.

    Attributes:
        scores_QK: (Q, K) float32; cosine similarity, descending, or squared Euclidean
            distance, ascending.
        indices_QK: (Q, K) int64; rows of the bank. Equal scores have ascending indices.
    """

    scores_QK: NDArray[np.float32]
    indices_QK: NDArray[np.int64]


def unresolved(
    geometry: Geometry, placed_qD: NDArray[np.float32], costs_qL: FloatArray, k: int
) -> NDArray[np.bool_]:
    """Find the queries for which a row outside the list may belong among the first k.

    Args:
        geometry: the placement.
        placed_qD: (q, D) queries as they were searched.
        costs_qL: (q, L) sorted float32 costs; every row outside costs as much as the
            last but one or more (the last is missing where the query was in the list).
        k: neighbours wanted, k < L - 1.

    Returns:
        (q,) bool.
    """
    last = costs_qL[:, -2].astype(np.float64)
    gap = last - costs_qL[:, k - 1]
    return gap <= geometry.noise(placed_qD, last)


def settle(
    geometry: Geometry,
    query_qD: FloatArray,
    placed_qD: NDArray[np.float32],
    bank_ND: FloatArray,
    keys_qL: Keys,
    k: int,
) -> Keys:
    """Compute close costs again in float64 and keep the first k.

    A cosine stays as it is when no other lies within the rounding; a Euclidean distance
    is always computed again, because it is what is left of a difference of norms.

    Args:
        geometry: the placement.
        query_qD: (q, D) queries as they came.
        placed_qD: (q, D) queries as they were searched.
        bank_ND: (N, D).
        keys_qL: (q, L) sorted keys of candidates.
        k: neighbours to keep, at most L.

    Returns:
        (q, k) sorted keys.
    """
    costs_qL, indices_qL = unpack(keys_qL)
    noise_q1 = geometry.noise(placed_qD, costs_qL[:, k - 1])[:, None]
    needed = costs_qL <= costs_qL[:, k - 1 : k] + noise_q1
    needed &= indices_qL >= 0
    if geometry.metric == "cosine":
        close = np.zeros_like(needed)
        near = costs_qL[:, 1:] - costs_qL[:, :-1] <= noise_q1
        close[:, 1:] |= near
        close[:, :-1] |= near
        needed &= close
    keys_qL = keys_qL.copy()
    if geometry.metric == "euclidean":
        keys_qL[~needed] = NOBODY

    def compute(part: slice) -> None:
        for row in range(part.start, part.stop):
            columns = np.flatnonzero(needed[row])
            if len(columns):
                indices = indices_qL[row, columns]
                costs = geometry.costs(query_qD[row], bank_ND[indices])
                keys_qL[row, columns] = pack(costs, indices)

    each_block(compute, len(keys_qL), keys_qL.shape[1] * bank_ND.shape[1])
    keys_qL.sort(axis=1)
    return keys_qL[:, :k]


def exhaust(
    geometry: Geometry,
    query_qD: FloatArray,
    bank_ND: FloatArray,
    own_q: NDArray[np.int64] | None,
    k: int,
) -> Keys:
    """Search in float64, for the queries whose ties run past the list of candidates.

    Costs about as much again as the first search, however many rows are equal:
    later rows of an equal cost have a larger index and are never looked at again.

    Args:
        geometry: the placement.
        query_qD: (q, D) queries as they came.
        bank_ND: (N, D).
        own_q: (q,) row of the bank that each query is and must not find, or None.
        k: neighbours to keep.

    Returns:
        (q, k) sorted keys; a squared distance that float64 leaves as a residue of the
        norms is 0 here, until ``settle`` looks at it.
    """
    keys_qk = np.full((len(query_qD), k), NOBODY)
    for rows in blocks(len(bank_ND), EXACT_BLOCK):
        placed_nD = geometry.place64(bank_ND[rows], "bank", rows.start)
        for part in blocks(len(query_qD), EXACT_BLOCK):
            placed_qD = geometry.place64(query_qD[part], "query", part.start)
            costs = _products(geometry.metric, placed_qD, placed_nD)
            if own_q is not None:
                own = own_q[part] - rows.start
                inside = np.flatnonzero((own >= 0) & (own < len(placed_nD)))
                costs[inside, own[inside]] = np.inf
            worst, _ = unpack(keys_qk[part].max(axis=1))
            hit = np.flatnonzero((costs < worst[:, None]).any(axis=1))
            if len(hit) == 0:
                continue
            indices = np.arange(rows.start, rows.stop)
            found = pack(costs[hit], np.broadcast_to(indices, (len(hit), len(indices))))
            found[np.isinf(costs[hit])] = NOBODY
            current = keys_qk[part]
            current[hit] = best(np.concatenate([current[hit], found], axis=1), k)
    keys_qk.sort(axis=1)
    return keys_qk


def _products(
    metric: str, placed_qD: NDArray[np.float64], placed_nD: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Compute costs of placed rows by one float64 product, rounded to float32."""
    costs = placed_qD @ placed_nD.T
    if metric == "cosine":
        return rounded(-costs).astype(np.float32)
    norms = np.einsum("qd,qd->q", placed_qD, placed_qD)[:, None]
    norms = norms + np.einsum("nd,nd->n", placed_nD, placed_nD)
    costs *= -2
    costs += norms
    costs[costs <= RESIDUE * norms] = 0.0
    return costs.astype(np.float32)
