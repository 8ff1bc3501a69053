"""Average precision by hand, against scikit-learn and against a slow loop."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from ssl_bench import metrics
from ssl_bench.errors import FeatureError
from tests.reference import average_precision as reference

SLOW = {"envelope": reference.envelope, "11point": reference.eleven_points}


def marks(text: str) -> NDArray[np.bool_]:
    """Read ``+`` as a positive and ``-`` as a negative image."""
    return np.array([mark == "+" for mark in text], dtype=np.bool_)


def drawn(
    seed: int, images: int, columns: int, levels: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw scores, of a few levels where ties are wanted, and positives."""
    rng = np.random.default_rng(seed)
    scores_NP = rng.normal(size=(images, columns))
    if levels is not None:
        scores_NP = rng.integers(levels, size=(images, columns)) / 4
    positive_N = rng.random(images) < 0.3
    positive_N[rng.integers(images)] = True
    return scores_NP, positive_N


@pytest.mark.parametrize(
    ("ranking", "rule", "expected"),
    [
        # Hits at ranks 1, 3, 6 of 3: precision 1, 2/3, 1/2 with recall.
        ("+-+--+--", "envelope", (1 + 2 / 3 + 1 / 2) / 3),
        ("+-+--+--", "step", (1 + 2 / 3 + 1 / 2) / 3),
        # Recall 1/3 holds 0 to 0.3, recall 2/3 holds 0.4 to 0.6, recall 1 the rest.
        ("+-+--+--", "11point", (4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11),
        # Hits at ranks 2, 3, 4 of 3: precision rises 1/2, 2/3, 3/4.
        ("-+++-", "envelope", 3 / 4),
        ("-+++-", "11point", 3 / 4),
        ("-+++-", "step", (1 / 2 + 2 / 3 + 3 / 4) / 3),
        # Hits at ranks 1, 4, 5: the envelope lifts 2/4 to 3/5.
        ("+--++", "envelope", (1 + 3 / 5 + 3 / 5) / 3),
        ("+--++", "11point", (4 * 1 + 7 * 3 / 5) / 11),
        ("+--++", "step", (1 + 2 / 4 + 3 / 5) / 3),
        # The worst ranking: 1/4, 2/5, 3/6.
        ("---+++", "envelope", 1 / 2),
        ("---+++", "11point", 1 / 2),
        ("---+++", "step", (1 / 4 + 2 / 5 + 3 / 6) / 3),
    ],
)
def test_by_hand(ranking: str, rule: str, expected: float) -> None:
    scores_N = -np.arange(len(ranking), dtype=np.float64)
    found = metrics.average_precision(scores_N, marks(ranking), rule)
    assert found == pytest.approx(100 * expected, abs=1e-12)


@pytest.mark.parametrize("rule", metrics.AP_RULES)
def test_at_the_ends(rule: str) -> None:
    def ap(scores: list[float], ranking: str) -> float:
        return metrics.average_precision(np.array(scores), marks(ranking), rule)

    assert ap([0.0], "+") == 100
    assert ap([3, 1, 2, 1, 5], "+++++") == 100
    assert ap([9, 8, 7, 1, 2, 3, 4], "+++----") == 100
    assert ap([5, 4, 3, 2, 1], "----+") == pytest.approx(20, abs=1e-12)
    assert ap([5, 4, 3, 2, 1], "+----") == 100
    assert ap([np.inf, 4, 3, -np.inf], "-+--") == pytest.approx(50, abs=1e-12)


def test_ties_stand_in_the_order_of_the_images_or_share_a_threshold() -> None:
    """Scores 2, then 1 four times, then 0; by order the hits are at ranks 2 and 5."""
    scores_N = np.array([1, 1, 2, 1, 1, 0], dtype=np.float64)
    # In order of scores: image 2 -, 0 +, 1 -, 3 -, 4 +, 5 -.
    positive_N = marks("+---+-")
    for rule, expected in (
        ("envelope", (1 / 2 + 2 / 5) / 2),
        ("11point", (6 * 1 / 2 + 5 * 2 / 5) / 11),
        ("step", 2 / 5),
    ):
        found = metrics.average_precision(scores_N, positive_N, rule)
        assert found == pytest.approx(100 * expected, abs=1e-12)


@pytest.mark.parametrize("first", range(1, 10))
def test_eleven_points_compare_recalls_exactly(first: int) -> None:
    """Of 10 hits some come first, the rest behind 10 negatives: precision 1, then 1/2.

    ``first`` hits reach recall first / 10, which a float such as 0.1 * 3 lies above.
    """
    scores_N = -np.arange(20, dtype=np.float64)
    positive_N = marks("+" * first + "-" * 10 + "+" * (10 - first))
    found = metrics.average_precision(scores_N, positive_N, "11point")
    expected = ((first + 1) * 1 + (10 - first) * 1 / 2) / 11
    assert found == pytest.approx(100 * expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 2, 5, 40])
@pytest.mark.parametrize("images", [1, 2, 7, 60, 300])
def test_step_equals_scikit_learn(images: int, levels: int | None) -> None:
    scores_NP, positive_N = drawn(images, images, 5, levels)
    found_P = metrics.average_precisions(scores_NP, positive_N, "step")
    for scores_N, found in zip(scores_NP.T, found_P, strict=True):
        theirs = 100 * average_precision_score(positive_N, scores_N)
        assert found == pytest.approx(theirs, abs=1e-10)


@pytest.mark.parametrize("levels", [None, 2, 5, 40])
@pytest.mark.parametrize("images", [1, 2, 7, 60, 300])
@pytest.mark.parametrize("rule", sorted(SLOW))
def test_equals_the_slow_loop(rule: str, images: int, levels: int | None) -> None:
    scores_NP, positive_N = drawn(images, images, 5, levels)
    found_P = metrics.average_precisions(scores_NP, positive_N, rule)
    for scores_N, found in zip(scores_NP.T.tolist(), found_P, strict=True):
        slow = SLOW[rule](scores_N, positive_N.tolist())
        assert found == pytest.approx(slow, abs=1e-10)


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("rule", metrics.AP_RULES)
def test_a_column_does_not_see_its_neighbours(rule: str, levels: int | None) -> None:
    scores_NP, positive_N = drawn(3, 500, 12, levels)
    together = metrics.average_precisions(scores_NP, positive_N, rule)
    alone = [metrics.average_precision(s, positive_N, rule) for s in scores_NP.T]
    assert together.dtype == np.float64
    assert together.tolist() == alone
    fortran = metrics.average_precisions(np.asfortranarray(scores_NP), positive_N, rule)
    assert fortran.tolist() == alone


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("rule", metrics.AP_RULES)
def test_only_the_order_of_scores_counts(rule: str, levels: int | None) -> None:
    scores_NP, positive_N = drawn(4, 200, 6, levels)
    before = metrics.average_precisions(scores_NP, positive_N, rule)
    for mapped in (np.exp(scores_NP), 3 * scores_NP - 7, scores_NP**3):
        after = metrics.average_precisions(mapped, positive_N, rule)
        assert after.tolist() == before.tolist()


@pytest.mark.parametrize("rule", metrics.AP_RULES)
def test_single_precision_and_integers_are_scores_too(rule: str) -> None:
    scores_NP, positive_N = drawn(5, 100, 3, 6)
    expected = metrics.average_precisions(scores_NP, positive_N, rule).tolist()
    for dtype in (np.float32, np.float16):
        cast = scores_NP.astype(dtype)
        assert metrics.average_precisions(cast, positive_N, rule).tolist() == expected
    for dtype in (np.int64, np.uint8):
        whole = (scores_NP * 4).astype(dtype)
        assert metrics.average_precisions(whole, positive_N, rule).tolist() == expected


@pytest.mark.parametrize("rule", metrics.AP_RULES)
def test_inputs_are_left_alone(rule: str) -> None:
    scores_NP, positive_N = drawn(6, 50, 3, 6)
    kept_NP, kept_N = scores_NP.copy(), positive_N.copy()
    metrics.average_precisions(scores_NP, positive_N, rule)
    np.testing.assert_array_equal(scores_NP, kept_NP)
    np.testing.assert_array_equal(positive_N, kept_N)


ONES = np.ones((3, 2))
NANS = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, 0.0]])


@pytest.mark.parametrize(
    ("scores", "positive", "rule", "words"),
    [
        (ONES, marks("+-+"), "envelop", "'envelop'. Did you mean 'envelope'.*11point"),
        (ONES, marks("+-+"), "voc", "unknown rule of average precision 'voc'"),
        (ONES, marks("+-"), "step", r"shape \(3, 2\) for positives of shape \(2,\)"),
        (ONES[:, 0], marks("+-+"), "step", r"scores of shape \(3,\)"),
        (ONES, np.array([1, 0, -1]), "step", "type int64, where -1 .* targets == 1"),
        (ONES[:0], marks(""), "step", "no image"),
        (ONES, marks("---"), "step", "none of 3 images is positive"),
        (NANS, marks("+-+"), "step", "2 scores are NaN.* image 1 in column 1"),
    ],
)
def test_explains_bad_input(
    scores: np.ndarray, positive: np.ndarray, rule: str, words: str
) -> None:
    with pytest.raises(FeatureError, match=words):
        metrics.average_precisions(scores, positive, rule)


def test_the_single_one_explains_bad_input() -> None:
    with pytest.raises(FeatureError, match=r"shape \(3, 2\); one score an image"):
        metrics.average_precision(ONES, marks("+-+"), "step")
    with pytest.raises(FeatureError, match="none of 3 images"):
        metrics.average_precision(ONES[:, 0], marks("---"), "step")


@pytest.mark.parametrize("rule", ["envelope", "11point"])
def test_masked_columns_are_those_of_their_own_images(rule: str) -> None:
    draw = np.random.default_rng(5)
    scores_NP = draw.integers(0, 30, (60, 25)) / 7.0  # with ties
    targets_NP = draw.choice([-1, 0, 1], (60, 25), p=[0.5, 0.35, 0.15])
    targets_NP[:, 3] = np.where(targets_NP[:, 3] == 1, 0, targets_NP[:, 3])
    targets_NP[:, 4] = np.where(targets_NP[:, 4] == 0, 1, targets_NP[:, 4])
    found_P = metrics.masked_precisions(scores_NP, targets_NP, rule)
    for p in range(25):
        kept = targets_NP[:, p] != -1
        if p in (3, 4):
            assert np.isnan(found_P[p])
        else:
            expected = SLOW[rule](
                list(scores_NP[kept, p]), list(targets_NP[kept, p] == 1)
            )
            assert found_P[p] == pytest.approx(expected)


def test_masked_columns_are_checked() -> None:
    with pytest.raises(FeatureError, match="must be the same"):
        metrics.masked_precisions(np.zeros((3, 2)), np.zeros((3, 1), int), "envelope")
    with pytest.raises(FeatureError, match="NaN"):
        metrics.masked_precisions(
            np.full((3, 1), np.nan), np.ones((3, 1), int), "envelope"
        )
    with pytest.raises(FeatureError, match="step"):
        metrics.masked_precisions(np.zeros((3, 1)), np.ones((3, 1), int), "step")
