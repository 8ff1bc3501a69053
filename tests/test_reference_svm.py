"""The slow SVM protocols themselves, on cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from tests.reference import average_precision, svm


def scene(seed: int, images: int, gap: float) -> tuple[NDArray, NDArray]:
    """Draw features in which each of 3 classes moves a direction of its own."""
    rng = np.random.default_rng(seed)
    targets_NC = np.zeros((images, 3), dtype=np.int8)
    targets_NC[np.arange(images), np.arange(images) % 3] = 1
    feats_ND = rng.normal(size=(images, 8)) * 0.3
    feats_ND[:, :3] += gap * targets_NC
    return feats_ND.astype(np.float32), targets_NC


def test_average_precision_by_hand() -> None:
    """Hits at ranks 1, 4, 5: precision 1, 1/2, 3/5, lifted to 1, 3/5, 3/5."""
    scores, positive = [5.0, 4.0, 3.0, 2.0, 1.0], [True, False, False, True, True]
    assert average_precision.envelope(scores, positive) == pytest.approx(220 / 3)
    eleven = average_precision.eleven_points(scores, positive)
    assert eleven == pytest.approx(100 * (4 + 7 * 3 / 5) / 11)
    # Equal scores: the images stand in their order, the hit is the second.
    assert average_precision.envelope([1.0, 1.0], [False, True]) == 50


def test_normalised_by_hand() -> None:
    found = svm.normalised(np.array([[3, 4], [0, 0]], dtype=np.float32))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[3 / 5.00001, 4 / 5.00001], [0, 0]], rtol=1e-15)


def test_folds_by_hand() -> None:
    """2 positives and 4 negatives a fold of 2: in order, a half of each."""
    positive_N = np.array([True, False, False, True, False, False])
    (train_a, held_a), (train_b, held_b) = svm.folds(positive_N, 2)
    assert (held_a.tolist(), held_b.tolist()) == ([0, 1, 2], [3, 4, 5])
    assert (train_a.tolist(), train_b.tolist()) == ([3, 4, 5], [0, 1, 2])


def test_objective_by_hand() -> None:
    """Scores 2.5, 0.5, 1.5: losses 0, (1 - 0.5)^2 twice, (1 + 1.5)^2 once."""
    feats_ND = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    labels_N = np.array([1, 1, -1])
    found = svm.objective(feats_ND, labels_N, np.array([2.0, 1.0]), 0.5, cost=10)
    assert found == pytest.approx((4 + 1 + 0.25) / 2 + 10 * (2 * 0.25 + 6.25))


def test_fit_by_hand() -> None:
    """One image at 0 of each class: only the intercept b counts.

    1/2 b^2 + C (2 (1 - b)^2 + (1 + b)^2) is least at b = 2 C / (1 + 6 C).
    """
    w_D, b = svm.fit(np.zeros((2, 1)), np.array([1, -1]), cost=0.5, tol=1e-9)
    np.testing.assert_allclose(w_D, 0)
    assert b == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("cost", [0.01, 1.0])
def test_fit_is_where_the_objective_is_least(cost: float) -> None:
    feats, targets_NC = scene(0, 30, 1.0)
    feats_ND, labels_N = svm.normalised(feats), 2 * targets_NC[:, 0].astype(int) - 1
    w_D, b = svm.fit(feats_ND, labels_N, cost, tol=1e-8, max_iter=100_000)
    least = svm.objective(feats_ND, labels_N, w_D, b, cost)
    rng = np.random.default_rng(1)
    for _ in range(50):
        step = rng.normal(size=9) * 1e-3
        moved = (w_D + step[:8], b + step[8])
        assert svm.objective(feats_ND, labels_N, *moved, cost) > least


def test_cross_validation_equals_scikit_learn() -> None:
    feats, targets_NC = scene(2, 60, 0.4)
    feats_ND, labels_N = svm.normalised(feats), 2 * targets_NC[:, 1].astype(int) - 1
    model = LinearSVC(C=0.5, dual=True, class_weight={1: 2, -1: 1}, random_state=0)
    theirs = cross_val_score(
        model, feats_ND, labels_N, cv=3, scoring="average_precision"
    )
    found = svm.cross_validated(feats_ND, labels_N, 0.5, 3, max_iter=1000)
    assert found == pytest.approx(100 * theirs.mean(), abs=1e-9)


@pytest.mark.parametrize("rule", ["envelope", "11point"])
def test_separable_classes_are_perfect(rule: str) -> None:
    train_ND, train_NC = scene(3, 45, 20.0)
    test_ND, test_NC = scene(4, 30, 20.0)
    found = svm.full(train_ND, train_NC, test_ND, test_NC, [1.0, 0.1], rule=rule)
    assert found["ap"] == [100, 100, 100]
    assert found["map"] == 100
    assert found["cross_validated"] == [[100, 100]] * 3
    assert found["chosen"] == [0, 0, 0]


def test_difficult_images_are_negatives_or_left_out() -> None:
    train_ND, train_NC = scene(5, 90, 1.0)
    test_ND, test_NC = scene(6, 60, 1.0)
    train_NC[::2][train_NC[::2] == 1] = -1
    args = (train_ND, train_NC, test_ND, test_NC, [0.1])
    negative_NC = np.maximum(train_NC, 0)
    as_negative = svm.full(train_ND, negative_NC, test_ND, test_NC, [0.1])
    assert svm.full(*args) == as_negative
    # One class at a time: without its difficult images there is nothing to ignore.
    ignored = svm.full(*args, difficult="ignore")
    for c in range(3):
        easy = train_NC[:, c] != -1
        alone = svm.full(train_ND[easy], negative_NC[easy], test_ND, test_NC, [0.1])
        assert ignored["ap"][c] == alone["ap"][c]
        assert ignored["cross_validated"][c] == alone["cross_validated"][c]
    assert ignored["cross_validated"] != as_negative["cross_validated"]
    # In the test they are left out either way.
    hidden_NC = test_NC.copy()
    hidden_NC[:6] = -1
    shorter = svm.full(train_ND, train_NC, test_ND[6:], test_NC[6:], [0.1])
    assert svm.full(train_ND, train_NC, test_ND, hidden_NC, [0.1]) == shorter


def test_draw_by_its_counts() -> None:
    _, targets_NC = scene(7, 90, 1.0)
    targets_NC[:9] = -1
    drawn = svm.draw(targets_NC, 0, 0, 4)
    assert ((drawn == 1).sum(axis=0) == 4).all()
    assert ((drawn == 0).sum(axis=0) == 2 * 4).all()
    assert (drawn[:9] == -1).all()
    np.testing.assert_array_equal(drawn[drawn != -1], targets_NC[drawn != -1])
    np.testing.assert_array_equal(drawn, svm.draw(targets_NC, 0, 0, 4))
    for other in (svm.draw(targets_NC, 0, 1, 4), svm.draw(targets_NC, 1, 0, 4)):
        assert (drawn != other).any()


def test_lowshot_of_separable_classes_is_perfect() -> None:
    train_ND, train_NC = scene(8, 60, 20.0)
    test_ND, test_NC = scene(9, 30, 20.0)
    found = svm.lowshot(
        train_ND, train_NC, test_ND, test_NC, [1.0, 0.1], [1, 4], samples=2, seed=0
    )
    assert set(found) == {1, 4}
    for one in found.values():
        assert one["maps"] == one["held_maps"] == [[100, 100]] * 2
        assert (one["chosen"], one["mean"], one["std"]) == (0, 100, 0)
        assert (one["held_chosen"], one["held_map"]) == ([0, 0], [100, 100])


def test_lowshot_numbers_follow_from_its_maps() -> None:
    train_ND, train_NC = scene(10, 60, 0.5)
    test_ND, test_NC = scene(11, 45, 0.5)
    one = svm.lowshot(
        train_ND, train_NC, test_ND, test_NC, [1e-4, 1.0, 100.0], [2], 4, seed=3
    )[2]
    maps_SJ, held_SJ = np.array(one["maps"]), np.array(one["held_maps"])
    assert maps_SJ.shape == held_SJ.shape == (4, 3)
    best = maps_SJ.mean(axis=0).argmax()
    assert one["chosen"] == best
    assert one["mean"] == pytest.approx(maps_SJ[:, best].mean())
    assert one["std"] == pytest.approx(maps_SJ[:, best].std(ddof=0))
    assert (one["min"], one["max"]) == (maps_SJ[:, best].min(), maps_SJ[:, best].max())
    assert one["held_chosen"] == held_SJ.argmax(axis=1).tolist()
    assert one["held_map"] == [
        maps_SJ[s, j] for s, j in enumerate(held_SJ.argmax(axis=1))
    ]


def test_lowshot_has_no_clean_number_where_nothing_is_held_out() -> None:
    """k = 20 takes all 20 positives of each class: none is left to choose by."""
    train_ND, train_NC = scene(12, 60, 0.5)
    test_ND, test_NC = scene(13, 30, 0.5)
    costs = [1e-4, 1.0]
    args = (train_ND, train_NC, test_ND, test_NC, costs, [20], 2)
    found = svm.lowshot(*args, seed=0)[20]
    assert found["held_maps"] == [[None, None]] * 2
    for name in ("held_chosen", "held_map", "held_mean", "held_std"):
        assert found[name] is None, name
    best = found["chosen"]
    assert found["mean"] == pytest.approx(sum(row[best] for row in found["maps"]) / 2)
    given = {(s, 20): svm.draw(train_NC, 0, s, 20) for s in range(2)}
    assert svm.lowshot(*args, seed=99, draws=given)[20] == found


def test_a_class_is_held_out_only_with_both_kinds() -> None:
    """Of class 0 no negative is left, of class 1 no positive: class 2 chooses alone."""
    train_ND, train_NC = scene(14, 30, 0.5)
    test_ND, test_NC = scene(15, 30, 0.5)
    drawn_NC = svm.draw(train_NC, 0, 0, 2)
    drawn_NC[train_NC[:, 0] == 0, 0] = 0
    drawn_NC[train_NC[:, 1] == 1, 1] = 1
    costs = [0.01, 10.0]
    args = (train_ND, train_NC, test_ND, test_NC, costs, [2], 1, 0)
    found = svm.lowshot(*args, draws={(0, 2): drawn_NC})[2]
    scaled = svm.normalised(train_ND)
    used, rest = drawn_NC[:, 2] != -1, drawn_NC[:, 2] == -1
    for place, cost in enumerate(costs):
        labels_N = np.where(drawn_NC[used, 2] == 1, 1, -1)
        model = svm.fit(scaled[used], labels_N, cost)
        alone = svm.model_ap(scaled[rest], train_NC[rest, 2], *model)
        assert found["held_maps"][0][place] == alone
