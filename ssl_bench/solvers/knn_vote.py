"""From neighbours to classes: weights, votes and ranks.

One search at the largest k serves every k, temperature and kind of vote: neighbours are
sorted, so those for a smaller k are the first ones, and votes for a growing k are added
up without starting again.

Axes: Q or q queries, K neighbours, N rows of the bank, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError, UsageError, unknown
from ssl_bench.solvers.knn_geometry import blocks
from ssl_bench.solvers.knn_order import Neighbours

VOTES = ("weighted", "majority")
# Votes that are held at a time: 8 MB, so that they stay in the cache.
_VOTES_AT_ONCE = 1 << 20
# The weight of the farthest neighbour is never zero: a class that a neighbour voted for
# must not look like one that nobody voted for.
_LEAST = float(np.finfo(np.float64).tiny)


def vote_weights(
    scores_QK: NDArray[np.floating[Any]],
    *,
    vote: str,
    metric: str,
    temperature: float | None,
) -> NDArray[np.float64]:
    """Weigh the votes of neighbours.

    * majority: every neighbour has one vote;
    * weighted, cosine: exp((s - s_max) / T). The reference has exp(s / T); the factor
      exp(-s_max / T) is the same for all neighbours of a query, changes no ranking and
      keeps the exponential from overflowing at any temperature;
    * weighted, Euclidean: 1 / distance; where a neighbour lies at distance 0, those at
      distance 0 have one vote each and the others none (as scikit-learn's
      ``weights="distance"``). There is no temperature.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4 (weighted vote, T = 0.07);
        open-mmlab/mmselfsup@0.x
        tools/benchmarks/classification/knn_imagenet/test_knn.py.

    Args:
        scores_QK: (Q, K) cosine similarities, descending, or squared Euclidean
            distances, ascending, as ``search`` returns them.
        vote: "weighted" or "majority".
        metric: "cosine" or "euclidean".
        temperature: T > 0 of the weighted cosine vote; ignored where it does not apply.

    Returns:
        (Q, K) float64, none negative.

    Raises:
        UsageError: the vote is unknown, or the temperature is not above 0.
    """
    if vote not in VOTES:
        raise UsageError(unknown("vote", vote, VOTES))
    scores = scores_QK.astype(np.float64)
    if vote == "majority":
        return np.ones_like(scores)
    if metric == "euclidean":
        exact = scores == 0
        weights = 1.0 / np.sqrt(np.where(exact, 1.0, scores))
        matched = exact.any(axis=1, keepdims=True)
        return np.where(matched, exact.astype(np.float64), weights)
    if temperature is None or not temperature > 0:
        raise UsageError(
            f"temperature {temperature}; the weighted vote needs one above 0 (the "
            "protocol's is 0.07)"
        )
    scores -= scores[:, :1]
    # Of numbers far below zero, only the sign of infinity would be lost here.
    with np.errstate(over="ignore", under="ignore"):
        scores /= temperature
        np.exp(scores, out=scores)
    return np.maximum(scores, _LEAST, out=scores)


def class_votes(
    neighbours: Neighbours,
    targets_N: NDArray[np.integer[Any]],
    num_classes: int,
    k: int,
    weights_QK: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Add up the votes of the first k neighbours, the nearest first.

    Args:
        neighbours: Q queries with K neighbours.
        targets_N: (N,) class of every row of the bank, 0 <= target < num_classes.
        num_classes: number of classes C.
        k: number of neighbours that vote, at most K.
        weights_QK: (Q, K) weight of every vote.

    Returns:
        (Q, C) float64.

    Raises:
        FeatureError: k is larger than K, or a target is no class.
    """
    indices_QK = neighbours.indices_QK
    _check(indices_QK, targets_N, num_classes, [k])
    votes_QC = np.zeros((len(indices_QK), num_classes))
    _add_votes(votes_QC, targets_N[indices_QK[:, :k]], weights_QK[:, :k])
    return votes_QC


def rank_classes(votes_QC: NDArray[np.float64], top: int) -> NDArray[np.int64]:
    """List the classes with the most votes.

    Equal votes take the smaller class. A class that nobody voted for is never listed:
    the older tool (open-mmlab/mmselfsup test_knn.py) sorts all classes, so that its
    top-5 fills up with classes without votes whose order is an accident, and an image
    can count as a hit there although no neighbour has its class.

    Args:
        votes_QC: (Q, C) votes, none negative; 0 means that nobody voted.
        top: number of classes to list.

    Returns:
        (Q, top) int64; -1 where fewer classes have votes.
    """
    left_QC = votes_QC.copy()
    ranks = np.full((len(left_QC), top), -1, np.int64)
    rows = np.arange(len(left_QC))
    for place in range(min(top, left_QC.shape[1])):
        chosen = left_QC.argmax(axis=1)
        voted = left_QC[rows, chosen] > 0
        ranks[voted, place] = chosen[voted]
        left_QC[rows, chosen] = 0.0
    return ranks


def predict_cells(
    neighbours: Neighbours,
    targets_N: NDArray[np.integer[Any]],
    *,
    num_classes: int,
    topk: Sequence[int],
    cells: Sequence[tuple[str, float | None]],
    metric: str,
    top: int,
    query_chunk: int,
) -> dict[tuple[int, str, float | None], NDArray[np.int64]]:
    """Rank classes for every k and every way to vote, from one search.

    A result is the same, to the last bit, whichever others are asked for with it.

    Args:
        neighbours: Q queries with K neighbours.
        targets_N: (N,) class of every row of the bank, 0 <= target < num_classes.
        num_classes: number of classes C.
        topk: numbers of neighbours that vote, each at most K.
        cells: pairs of a vote and its temperature, as ``vote_weights`` takes them.
        metric: "cosine" or "euclidean".
        top: number of classes to list.
        query_chunk: the most queries that are counted together; fewer are where there
            are many classes.

    Returns:
        (Q, top) int64 by (k, vote, temperature), as ``rank_classes``.

    Raises:
        FeatureError: a k is larger than K, or a target is no class.
        UsageError: a vote is unknown, or a temperature is missing or not above 0.
    """
    scores_QK, indices_QK = neighbours
    _check(indices_QK, targets_N, num_classes, topk)
    growing = sorted(set(topk))
    ranks: dict[tuple[int, str, float | None], NDArray[np.int64]] = {
        (k, vote, temperature): np.empty((len(indices_QK), top), np.int64)
        for vote, temperature in cells
        for k in growing
    }
    step = max(1, min(query_chunk, _VOTES_AT_ONCE // num_classes))
    for part in blocks(len(indices_QK), step):
        labels_qK = targets_N[indices_QK[part]]
        for vote, temperature in cells:
            weights_qK = vote_weights(
                scores_QK[part], vote=vote, metric=metric, temperature=temperature
            )
            votes_qC = np.zeros((len(labels_qK), num_classes))
            before = 0
            for k in growing:
                added = slice(before, k)
                _add_votes(votes_qC, labels_qK[:, added], weights_qK[:, added])
                ranks[k, vote, temperature][part] = rank_classes(votes_qC, top)
                before = k
    return ranks


def _add_votes(
    votes_QC: NDArray[np.float64],
    labels_QK: NDArray[np.integer[Any]],
    weights_QK: NDArray[np.float64],
) -> None:
    """Add votes one after the other, so that equal votes give equal sums."""
    rows = np.arange(len(votes_QC), dtype=np.int64)[:, None] * votes_QC.shape[1]
    places = (rows + labels_QK).ravel()
    np.add.at(votes_QC.reshape(-1), places, weights_QK.ravel())


def _check(
    indices_QK: NDArray[np.int64],
    targets_N: NDArray[np.integer[Any]],
    num_classes: int,
    ks: Sequence[int],
) -> None:
    width = indices_QK.shape[1]
    for k in ks:
        if not 1 <= k <= width:
            raise FeatureError(
                f"k = {k}, but {width} neighbours were searched; k must be between 1 "
                f"and {width}; search for more"
            )
    if targets_N.min() < 0 or targets_N.max() >= num_classes:
        raise FeatureError(
            f"targets from {targets_N.min()} to {targets_N.max()} with {num_classes} "
            f"classes; targets must be between 0 and {num_classes - 1}"
        )
