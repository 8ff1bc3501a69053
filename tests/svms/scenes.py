"""Small features with several labels an image, and the grids as the spec writes them.

Axes: N images, D dimensions, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_bench.features import Features
from ssl_bench.svms import Place, split_of

POWERS = [2.0**-power for power in range(4, 20)]
# Source: the written protocol, 2.3 "Cost list": typed by hand, in its order.
GRIDS = {
    "mmselfsup": [1.0, 10.0, 100.0, *POWERS],
    "fair": [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, *POWERS],
    "vissl": [0.01, 0.1, 1, 2, 5, 10, 15, 20, 50, 100, 1000],
    "gap": [1.0, 10.0, 100.0, *POWERS],
}
EXACT = {"tol": 1e-8, "max_iter": 100_000}
"""How well the reference has to solve, to be one."""


class Arrays(NamedTuple):
    """Features and targets of both splits."""

    train_ND: NDArray[np.float32]
    train_NC: NDArray[np.int8]
    test_ND: NDArray[np.float32]
    test_NC: NDArray[np.int8]


def scene(
    seed: int,
    train: int = 60,
    test: int = 50,
    classes: int = 3,
    dims: int = 80,
    share: float = 0.3,
    difficult: float = 0.08,
) -> Arrays:
    """Draw features as after a ReLU, which labels move in part.

    Args:
        seed: of the draw.
        train: images to train on.
        test: images to report on.
        classes: labels an image.
        dims: of a feature.
        share: of images that show a class.
        difficult: share of targets that are -1.
    """
    rng = np.random.default_rng(seed)
    moved_CD = np.random.default_rng([seed, 1]).normal(size=(classes, dims)) * 0.4
    found = []
    for count in (train, test):
        shown_NC = rng.random((count, classes)) < share
        feats_ND = rng.normal(size=(count, dims)) + shown_NC @ moved_CD + 0.5
        targets_NC = shown_NC.astype(np.int8)
        targets_NC[rng.random((count, classes)) < difficult] = -1
        targets_NC[:4] = 1  # whatever is drawn, a class has some of both
        targets_NC[4:9] = 0
        found += [np.maximum(feats_ND, 0).astype(np.float32), targets_NC]
    return Arrays(*found)


def features_of(
    feats_ND: NDArray[np.float32], targets: NDArray[np.int8], split: str
) -> Features:
    """Return features as a protocol gets them."""
    return Features(feats_ND, targets, "layer4", "average", "made up", split, split)


def place_of(arrays: Arrays) -> Place:
    """Return both splits at one feature."""
    train = features_of(arrays.train_ND, arrays.train_NC, "train")
    test = features_of(arrays.test_ND, arrays.test_NC, "test")
    return Place("feat5", split_of(train), split_of(test))


def write(folder: Path, arrays: Arrays) -> Path:
    """Write given features: train/test, features and targets."""
    folder.mkdir(exist_ok=True)
    for role, feats_ND, targets_NC in (
        ("train", arrays.train_ND, arrays.train_NC),
        ("test", arrays.test_ND, arrays.test_NC),
    ):
        np.save(folder / f"{role}_features.npy", feats_ND)
        np.save(folder / f"{role}_targets.npy", targets_NC)
    return folder
