"""Votes and ranks against hand arithmetic, loops and scikit-learn."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from ssl_bench.errors import FeatureError, UsageError
from ssl_bench.solvers import knn, knn_vote
from tests.reference import knn as reference

CELLS = (("weighted", 0.07), ("weighted", 0.5), ("majority", None))


def search(query: Any, bank: Any, k: int, metric: str) -> knn.Neighbours:
    return knn.search(
        query,
        bank,
        k,
        metric=metric,
        backend="torch",
        device="cpu",
        query_chunk=64,
        bank_chunk=64,
        leave_one_out=False,
    )


def predict(found: knn.Neighbours, targets: Any, **changes: Any) -> Any:
    options: dict[str, Any] = {
        "num_classes": 10,
        "topk": (1, 5, 20),
        "cells": CELLS,
        "metric": "cosine",
        "top": 5,
        "query_chunk": 7,
    }
    return knn.predict_cells(found, targets, **{**options, **changes})


def blobs(seed: int, rows: int, dim: int, classes: int) -> tuple[Any, Any]:
    """Overlapping clusters, so that neighbours disagree."""
    centres = np.random.default_rng(99).standard_normal((classes, dim))
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, rows)
    noise = rng.standard_normal((rows, dim))
    return (centres[targets] + 1.5 * noise).astype(np.float32), targets


def found_by_hand() -> knn.Neighbours:
    """One query; classes of its neighbours by TARGETS: 2, 0, 0, 1."""
    scores = np.array([[0.9, 0.8, 0.8, 0.1]], np.float32)
    return knn.Neighbours(scores, np.array([[3, 0, 1, 2]]))


TARGETS = np.array([0, 0, 1, 2])


def test_weighted_votes_by_hand() -> None:
    """With T = 0.1, in units of exp(9): class 2 has 1, class 0 has 2 exp(-1), class 1
    exp(-8): 1 > 0.736 > 0.0003. With T = 1 it is 1 < 2 exp(-0.1) = 1.81."""
    for temperature, order in ((0.1, [2, 0, 1]), (1.0, [0, 2, 1])):
        weights = knn.vote_weights(
            found_by_hand().scores_QK,
            vote="weighted",
            metric="cosine",
            temperature=temperature,
        )
        votes = knn.class_votes(found_by_hand(), TARGETS, 3, 4, weights)
        expected = [
            2 * math.exp(-0.1 / temperature),
            math.exp(-0.8 / temperature),
            1.0,
        ]
        np.testing.assert_allclose(votes, [expected], rtol=1e-5)
        assert knn.rank_classes(votes, 3).tolist() == [order]


def test_majority_votes_by_hand() -> None:
    """Classes 2, 0, 0, 1: with k = 1 class 2, with k = 2 a tie that 0 wins."""
    cells = predict(found_by_hand(), TARGETS, num_classes=4, topk=(1, 2, 4), top=4)
    assert cells[1, "majority", None].tolist() == [[2, -1, -1, -1]]
    assert cells[2, "majority", None].tolist() == [[0, 2, -1, -1]]
    assert cells[4, "majority", None].tolist() == [[0, 1, 2, -1]]


def test_euclidean_votes_are_inverse_distances() -> None:
    """Squared distances 4, 4, 16: votes 1/2, 1/2, 1/4; no temperature enters."""
    scores = np.array([[4, 4, 16], [0, 0, 16]], np.float32)
    weights = knn.vote_weights(
        scores, vote="weighted", metric="euclidean", temperature=None
    )
    # At distance 0 the others have no vote.
    assert weights.tolist() == [[0.5, 0.5, 0.25], [1, 1, 0]]


def test_a_class_without_votes_is_never_predicted() -> None:
    votes = np.array([[0, 3, 0, 3, 1.0], [0, 0, 0, 0, 0]])
    assert knn.rank_classes(votes, 5).tolist() == [[1, 3, 4, -1, -1], [-1] * 5]
    assert knn.rank_classes(votes, 7).tolist()[0] == [1, 3, 4, -1, -1, -1, -1]
    assert votes[0, 1] == 3  # what was given is left alone


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", [0, 1])
def test_cells_equal_loops(metric: str, seed: int) -> None:
    bank, targets = blobs(seed, 150, 6, 9)
    query, _ = blobs(seed + 10, 40, 6, 9)
    bank = np.round(bank * 2) / 2  # on a grid there are ties
    query = np.round(query * 2) / 2
    query[:8] = bank[:8]
    targets[targets == 4] = 3  # nobody has class 4
    found = search(query, bank, 20, metric)
    cells = CELLS if metric == "cosine" else (("weighted", None), ("majority", None))
    ranks = predict(found, targets, cells=cells, metric=metric, topk=(20, 1, 5, 13))
    scores, indices = reference.neighbours(query, bank, 20, metric)
    for (vote, temperature), k in product(cells, (1, 5, 13, 20)):
        for row in range(len(query)):
            total = reference.votes(
                scores[row][:k],
                indices[row][:k],
                targets.tolist(),
                vote=vote,
                metric=metric,
                temperature=temperature or math.nan,
            )
            ours = ranks[k, vote, temperature][row].tolist()
            assert ours == reference.ranking(total, 5)


@pytest.mark.parametrize(
    ("metric", "vote", "weights"),
    [
        ("cosine", "majority", "uniform"),
        ("euclidean", "majority", "uniform"),
        ("euclidean", "weighted", "distance"),
    ],
)
def test_predictions_equal_scikit_learn(metric: str, vote: str, weights: str) -> None:
    bank, targets = blobs(2, 400, 12, 10)
    query, _ = blobs(3, 120, 12, 10)
    query[:10] = bank[:10]
    ranks = predict(
        search(query, bank, 20, metric), targets, cells=((vote, None),), metric=metric
    )
    for k in (1, 5, 20):
        theirs = KNeighborsClassifier(
            n_neighbors=k, weights=weights, metric=metric, algorithm="brute"
        ).fit(bank.astype(np.float64), targets)
        expected = theirs.predict(query.astype(np.float64))
        assert (ranks[k, vote, None][:, 0] == expected).all()


def test_predictions_equal_scikit_learn_with_the_temperature() -> None:
    bank, targets = blobs(4, 400, 12, 10)
    query, _ = blobs(5, 120, 12, 10)
    ranks = predict(search(query, bank, 20, "cosine"), targets)
    for temperature in (0.07, 0.5):
        theirs = KNeighborsClassifier(
            n_neighbors=20,
            metric="cosine",
            algorithm="brute",
            weights=lambda d, t=temperature: np.exp((1 - d) / t),
        ).fit(bank.astype(np.float64), targets)
        expected = theirs.predict(query.astype(np.float64))
        assert (ranks[20, "weighted", temperature][:, 0] == expected).all()


def test_a_cell_does_not_depend_on_its_company() -> None:
    bank, targets = blobs(6, 300, 5, 10)
    query, _ = blobs(7, 50, 5, 10)
    found = search(query, bank, 20, "cosine")
    together = predict(found, targets, topk=(1, 2, 3, 5, 11, 20))
    for (k, vote, temperature), ranks in together.items():
        alone = predict(
            found, targets, topk=(k,), cells=((vote, temperature),), query_chunk=50
        )
        assert (alone[k, vote, temperature] == ranks).all()
        weights = knn.vote_weights(
            found.scores_QK, vote=vote, metric="cosine", temperature=temperature
        )
        votes = knn.class_votes(found, targets, 10, k, weights)
        assert (knn.rank_classes(votes, 5) == ranks).all()


def test_few_votes_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, targets = blobs(6, 100, 5, 10)
    found = search(bank, bank, 20, "cosine")
    expected = predict(found, targets)
    monkeypatch.setattr(knn_vote, "_VOTES_AT_ONCE", 1)
    for cell, ranks in predict(found, targets).items():
        assert (ranks == expected[cell]).all()


def test_limits_of_the_temperature() -> None:
    """Cold, the nearest neighbour decides; hot, all count alike."""
    bank, targets = blobs(8, 300, 8, 10)
    query, _ = blobs(9, 80, 8, 10)
    found = search(query, bank, 20, "cosine")
    cells = (("weighted", 1e-9), ("weighted", 1e-300), ("weighted", 1e12))
    ranks = predict(found, targets, cells=(*cells, ("majority", None)))
    nearest = ranks[1, "majority", None][:, 0]
    hot, majority = ranks[20, "weighted", 1e12], ranks[20, "majority", None]
    for cold in (1e-9, 1e-300):
        assert (ranks[20, "weighted", cold][:, 0] == nearest).all()
        # Classes whose weight is beyond float64 have been voted for all the same.
        assert ((ranks[20, "weighted", cold] >= 0) == (majority >= 0)).all()
    # Sums of almost equal weights may order a tied pair either way.
    rows = np.arange(len(query))
    ones = np.ones_like(found.scores_QK, np.float64)
    votes = knn.class_votes(found, targets, 10, 20, ones)
    assert (votes[rows, hot[:, 0]] == votes[rows, majority[:, 0]]).all()


def test_one_neighbour_on_the_own_bank_is_always_right() -> None:
    bank, targets = blobs(10, 200, 8, 10)
    for metric in ("cosine", "euclidean"):
        cells = (("majority", None),)
        ranks = predict(
            search(bank, bank, 1, metric),
            targets,
            topk=(1,),
            cells=cells,
            metric=metric,
        )
        assert (ranks[1, "majority", None][:, 0] == targets).all()


def test_bad_input_is_explained() -> None:
    found = found_by_hand()
    with pytest.raises(FeatureError, match="k = 5, but 4 neighbours"):
        predict(found, TARGETS, topk=(5,))
    with pytest.raises(FeatureError, match="k = 0"):
        predict(found, TARGETS, topk=(0,))
    with pytest.raises(FeatureError, match="from 0 to 2 with 2 classes"):
        predict(found, TARGETS, topk=(1,), num_classes=2)
    with pytest.raises(FeatureError, match="from -1 to 2"):
        predict(found, TARGETS * 3 // 2 - 1, topk=(1,))
    with pytest.raises(UsageError, match=r"unknown vote 'wieghted'.*'weighted'"):
        predict(found, TARGETS, topk=(1,), cells=(("wieghted", 1.0),))
    for temperature in (0.0, -1.0, math.nan, None):
        with pytest.raises(UsageError, match=f"temperature {temperature}; .* above 0"):
            predict(found, TARGETS, topk=(1,), cells=(("weighted", temperature),))
