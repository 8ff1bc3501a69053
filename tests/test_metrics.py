"""Accuracy and its interval, by hand and against published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from ssl_bench import metrics
from ssl_bench.errors import FeatureError

RANKS = np.array([[2, 0, 1], [1, -1, -1], [0, 2, 1], [0, 1, 2]])
TARGETS = np.array([2, 0, 1, 1])


def test_topk_accuracy_by_hand() -> None:
    """Right at rank 1, nowhere, at rank 3, at rank 2: 1, 2, 3 of 4."""
    assert metrics.topk_accuracy(RANKS, TARGETS, 1) == 25.0
    assert metrics.topk_accuracy(RANKS, TARGETS, 2) == 50.0
    assert metrics.topk_accuracy(RANKS, TARGETS, 3) == 75.0
    assert metrics.topk_accuracy(RANKS[:1], TARGETS[:1], 1) == 100.0


@pytest.mark.parametrize(
    ("ranks", "targets", "top", "words"),
    [
        (RANKS, TARGETS, 4, "top-4 .* 3 ranks"),
        (RANKS, TARGETS, 0, "top-0"),
        (RANKS, TARGETS[:3], 1, r"\(4, 3\) for targets of shape \(3,\)"),
        (RANKS[0], TARGETS, 1, "shape"),
        (RANKS[:0], TARGETS[:0], 1, "no image"),
    ],
)
def test_topk_accuracy_explains_bad_input(
    ranks: np.ndarray, targets: np.ndarray, top: int, words: str
) -> None:
    with pytest.raises(FeatureError, match=words):
        metrics.topk_accuracy(ranks, targets, top)


@pytest.mark.parametrize("confidence", [0.68, 0.95, 0.99])
@pytest.mark.parametrize(
    ("hits", "count"), [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (701, 1000)]
)
def test_wilson_interval_equals_scipy(hits: int, count: int, confidence: float) -> None:
    theirs = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    ours = metrics.wilson_interval(hits, count, confidence)
    np.testing.assert_allclose(
        ours, (100 * theirs.low, 100 * theirs.high), rtol=1e-9, atol=1e-9
    )
    assert 0 <= ours[0] <= 100 * hits / count <= ours[1] <= 100


def test_wilson_interval_by_a_published_example() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Stat. Med. 17, table I)."""
    low, high = metrics.wilson_interval(81, 263, 0.95)
    assert (round(low, 2), round(high, 2)) == (25.53, 36.62)


def test_metric_interval_takes_percent() -> None:
    for hits in range(8):
        expected = metrics.wilson_interval(hits, 7, 0.95)
        found = metrics.metric_interval(100 * hits / 7, 7)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert metrics.metric_interval(100.0, 10_000)[1] == 100.0


@pytest.mark.parametrize(
    ("hits", "count", "confidence"),
    [(-1, 7, 0.95), (8, 7, 0.95), (0, 0, 0.95), (1, 7, 0.0), (1, 7, 1.0), (1, 7, 95)],
)
def test_wilson_interval_explains_bad_input(
    hits: int, count: int, confidence: float
) -> None:
    with pytest.raises(FeatureError, match=f"{hits} hits of {count} at confidence"):
        metrics.wilson_interval(hits, count, confidence)
