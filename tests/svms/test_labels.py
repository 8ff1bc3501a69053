"""Targets as the SVMs take them, and everything that can be wrong with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError
from ssl_bench.features import Features
from ssl_bench.pooling import Site
from ssl_bench.svms import Split, check_splits, split_of
from ssl_bench.svms.runs import places_of
from tests.svms.scenes import features_of


def features(targets: NDArray[np.integer], split: str = "train") -> Features:
    feats_ND = np.random.default_rng(0).random((len(targets), 4)).astype(np.float32)
    return features_of(feats_ND, targets, split)


def split(rows: list[list[int]], name: str = "train", dtype: type = np.int8) -> Split:
    return split_of(features(np.array(rows, dtype), name))


GOOD = [[1, 0], [1, 0], [0, 1], [0, 1]]


def test_several_labels_stay_as_they_are() -> None:
    found = split([[1, 0, -1], [0, 1, 1]], dtype=np.int32)
    assert found.targets_NC.tolist() == [[1, 0, -1], [0, 1, 1]]
    assert found.targets_NC.dtype == np.int8
    assert found.classes == ("class 0", "class 1", "class 2")
    assert [found.positives(c) for c in range(3)] == [1, 1, 1]
    assert len(found) == 2


def test_names_of_classes_are_kept() -> None:
    named = dataclasses.replace(features(np.array(GOOD)), classes=("cow", "bus"))
    assert split_of(named).classes == ("cow", "bus")


def test_one_label_an_image_stands_against_all_others() -> None:
    found = split_of(features(np.array([2, 0, 2])))
    assert found.targets_NC.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    wider = split_of(features(np.array([2, 0, 2])), 4)
    assert wider.targets_NC.shape == (3, 4)
    assert wider.classes == ("class 0", "class 1", "class 2", "class 3")


@pytest.mark.parametrize("value", [2, -2, 300])
def test_any_other_target_is_named_with_its_place(value: int) -> None:
    rows = np.array(GOOD, np.int32)
    rows[2, 1] = value
    with pytest.raises(
        FeatureError, match=f"target {value} of image 2, class 1 in train of made up"
    ):
        split_of(features(rows))


def test_both_splits_have_the_classes_of_either() -> None:
    """The last class is only in the test split."""
    site = Site("feat5", "layer4", "average")
    taken = {
        "train": {"layer4": features(np.array([0, 1, 0]))},
        "test": {"layer4": features(np.array([0, 3]), "test")},
    }
    (place,) = places_of([site], taken)
    assert place.feature == "feat5"
    assert place.train.targets_NC.shape == (3, 4)
    assert place.test.targets_NC.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    with pytest.raises(FeatureError, match="class 2 has 0 positive images in train"):
        check_splits(place.train, place.test, 1, "an SVM", ignore=False)


def test_good_splits_pass() -> None:
    assert (
        check_splits(split(GOOD), split(GOOD, "test"), 2, "whatever", ignore=False)
        == []
    )


def test_too_few_images_of_a_kind_are_counted() -> None:
    """Class 0: 2 positives, 3 negatives, difficult ones among them. Class 1: 1 of 5."""
    rows = [[1, 1], [1, 0], [0, 0], [-1, 0], [0, -1]]
    test = split([[1, 1], [0, 0]], "test")
    assert check_splits(split(rows), test, 1, "an SVM", ignore=False) == []
    with pytest.raises(FeatureError) as caught:
        check_splits(split(rows), test, 3, "3-fold cross-validation", ignore=False)
    text = str(caught.value)
    need = "images in train, and 3-fold cross-validation needs 3"
    assert f"class 0 has 2 positive {need}" in text
    assert f"class 1 has 1 positive {need}" in text
    assert "negative" not in text
    with pytest.raises(FeatureError, match=r"class 0 has 1 negative images in train"):
        check_splits(
            split([[1], [1], [0]]), split([[1], [0]], "test"), 2, "it", ignore=False
        )


def test_difficult_images_are_negatives_or_nothing() -> None:
    """Two negatives, one of them difficult."""
    train, test = split([[1], [1], [0], [-1]]), split([[1], [0]], "test")
    assert check_splits(train, test, 2, "it", ignore=False) == []
    with pytest.raises(FeatureError, match="class 0 has 1 negative images in train"):
        check_splits(train, test, 2, "it", ignore=True)


def test_a_class_that_is_not_tested_is_named() -> None:
    """Difficult images are no positives."""
    test = split([[1, -1], [0, 0]], "test")
    with pytest.raises(FeatureError, match="class 1 has no positive image in test"):
        check_splits(split(GOOD), test, 1, "an SVM", ignore=False)


def test_long_lists_of_complaints_are_cut() -> None:
    train = split([[0] * 9, [0] * 9])
    test = split([[1] * 9], "test")
    with pytest.raises(FeatureError, match="and 4 more") as caught:
        check_splits(train, test, 1, "an SVM", ignore=False)
    assert str(caught.value).count("positive images") == 5


def test_numbers_of_classes_that_differ() -> None:
    test = split([[1, 0, 0], [0, 1, 1]], "test")
    with pytest.raises(FeatureError, match="train has 2 classes and test has 3"):
        check_splits(split(GOOD), test, 1, "an SVM", ignore=False)


def test_features_of_zeros_are_told() -> None:
    train, test = split(GOOD), split(GOOD, "test")
    test.features.feats_ND[1:3] = 0
    assert check_splits(train, test, 1, "an SVM", ignore=False) == [
        "2 images of test have a feature of zeros at layer4"
    ]
