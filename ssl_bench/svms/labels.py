"""Targets as an SVM takes them, and everything that can be wrong with them.

Axes: N images, C classes. Targets are 1 (shows the class), 0 (does not) and -1
(difficult, or unknown).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError
from ssl_bench.features import Features

_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """Hold the features of one split and a target for every image and class.

    Attributes:
        features: one row an image.
        targets_NC: 1, 0 or -1.
        classes: their names.
    """

    features: Features
    targets_NC: NDArray[np.int8]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.features)

    def positives(self, index: int) -> int:
        """Return how many images show a class."""
        return int((self.targets_NC[:, index] == 1).sum())


@dataclass(frozen=True)
class Place:
    """Hold both splits at one feature.

    Attributes:
        feature: its name, as in ``feat5``.
        train: what is trained on.
        test: what is reported on.
    """

    feature: str
    train: Split
    test: Split


def split_of(features: Features, count: int | None = None) -> Split:
    """Return a split; with one label an image every class stands against the others.

    Args:
        features: of one split.
        count: how many classes there are; by default as many as its targets tell.

    Raises:
        FeatureError: for a target other than 1, 0 and -1, with its place.
    """
    targets = np.asarray(features.targets)
    if targets.ndim == 1:
        count = count or int(targets.max()) + 1
        targets_NC = (targets[:, None] == np.arange(count)).astype(np.int8)
    else:
        _check_values(features, targets)
        targets_NC = targets.astype(np.int8)
    count = targets_NC.shape[1]
    names = features.classes
    if len(names) != count:
        names = tuple(f"class {index}" for index in range(count))
    return Split(features, targets_NC, names)


def _check_values(features: Features, targets: NDArray[np.integer]) -> None:
    wrong = (targets != 0) & (targets != 1) & (targets != -1)
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        raise FeatureError(
            f"target {int(targets[row, column])} of image {row}, class {column} in "
            f"{features.split} of {features.dataset}: targets are 1 (shows the class), "
            "0 (does not) or -1 (left out)"
        )


def check_splits(
    train: Split, test: Split, least: int, why: str, *, ignore: bool
) -> list[str]:
    """Refuse classes from which no number follows; return what to warn of.

    Args:
        train: what is trained on.
        test: what is reported on.
        least: positives and negatives that a class needs in training.
        why: what needs them, for the message.
        ignore: whether difficult images are no negatives in training.

    Raises:
        FeatureError: with every class that has too few images, and how many.
    """
    if train.targets_NC.shape[1] != test.targets_NC.shape[1]:
        raise FeatureError(
            f"{train.features.split} has {train.targets_NC.shape[1]} classes and "
            f"{test.features.split} has {test.targets_NC.shape[1]}; they must be the "
            "same"
        )
    complaints = []
    for index, name in enumerate(train.classes):
        column_N = train.targets_NC[:, index]
        negative_N = column_N == 0 if ignore else column_N != 1
        complaints += [
            f"{name} has {count} {word} images in {train.features.split}, and {why} "
            f"needs {least}"
            for word, count in (
                ("positive", int((column_N == 1).sum())),
                ("negative", int(negative_N.sum())),
            )
            if count < least
        ]
        if not test.positives(index):
            complaints.append(
                f"{name} has no positive image in {test.features.split}, so that it "
                "has no average precision"
            )
    if complaints:
        more = len(complaints) - _SHOWN
        said = "; ".join(complaints[:_SHOWN])
        raise FeatureError(
            f"{said}{f'; and {more} more' if more > 0 else ''}: add images, or leave "
            "such classes out of the lists"
        )
    return list(_zero_rows((train, test)))


def _zero_rows(splits: Iterable[Split]) -> Iterable[str]:
    for split in splits:
        feats_ND = split.features.feats_ND
        empty = sum(
            int((~np.any(feats_ND[b : b + 1024], axis=1)).sum())
            for b in range(0, len(split), 1024)
        )
        if empty:
            yield (
                f"{empty} images of {split.features.split} have a feature of zeros at "
                f"{split.features.tap}"
            )
