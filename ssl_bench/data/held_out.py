"""A part of a training split that chooses settings: the same share of every class.

Axes: N images, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import DataError


@dataclass(frozen=True)
class HeldOut:
    """Hold the classes of a training split, numbered without gaps, and a part of it.

    Attributes:
        labels_N: number of each image's class.
        classes_C: target of each number.
        held_N: which images are held out.
        split: its name.
    """

    labels_N: NDArray[np.int64]
    classes_C: NDArray[np.int64]
    held_N: NDArray[np.bool_]
    split: str

    def warnings(
        self, classes: int, targets_M: NDArray[np.integer[Any]], split: str
    ) -> list[str]:
        """Say what is odd about the classes.

        Args:
            classes: how many there should be; 0 where that is unknown.
            targets_M: classes of the split that is reported on.
            split: its name.
        """
        alone = int((np.bincount(self.labels_N) == 1).sum())
        lacking = classes - len(self.classes_C)
        absent = np.setdiff1d(targets_M, self.classes_C)
        wrong = int(np.isin(targets_M, absent).sum())
        said = {
            f"{alone} classes have one image in {self.split}, which is not held out: "
            "they have no say in the choice of settings": alone,
            f"{lacking} of {classes} classes have no image in {self.split}": lacking,
            f"{len(absent)} classes of {split} are not in {self.split}; their {wrong} "
            "images count as wrong": wrong,
        }
        return [text for text, count in said.items() if count > 0]


def hold_out(
    targets_N: NDArray[np.integer[Any]], split: str, *, share: float, seed: int
) -> HeldOut:
    """Number the classes that are there, and hold a share of each out.

    Args:
        targets_N: (N,) classes, from 0.
        split: its name, for messages.
        share: of each class, between 0 and 1.
        seed: as `draw_held_out` takes it.

    Raises:
        DataError: if there is one class, or no class has two images.
    """
    classes_C, labels_N, count_C = np.unique(
        targets_N, return_inverse=True, return_counts=True
    )
    if len(classes_C) < 2:
        raise DataError(
            f"all {len(targets_N)} images of {split} are of one class, and there is "
            "nothing to tell apart; add images of another class"
        )
    if count_C.max() == 1:
        raise DataError(
            f"each of the {len(classes_C)} classes of {split} has one image, and none "
            "can be held out to choose settings by; give classes more images"
        )
    labels_N = labels_N.astype(np.int64)
    held_N = draw_held_out(labels_N, share, seed)
    return HeldOut(labels_N, classes_C.astype(np.int64), held_N, split)


def draw_held_out(
    labels_N: NDArray[np.integer[Any]], share: float, seed: int
) -> NDArray[np.bool_]:
    """Draw the images that are held out, class by class.

    Of the n images of class c, with the generator ``numpy.random.RandomState([seed,
    c])``, the first of ``permutation`` of them in ascending order are held out:
    ``share * n``, rounded, at least 1 and at most n - 1. A class with one image keeps
    it.

    ``RandomState`` and not the newer ``Generator``: numpy promises its stream for ever
    (NEP 19), so that a seed names the same images under every version.

    Args:
        labels_N: (N,) classes, from 0.
        share: of each class, between 0 and 1.
        seed: from 0, below 2^32.

    Returns:
        (N,) whether an image is held out.
    """
    held_N = np.zeros(len(labels_N), dtype=np.bool_)
    order_N = np.argsort(labels_N, kind="stable")
    starts = np.flatnonzero(np.diff(labels_N[order_N], prepend=-1))
    for images_n in np.split(order_N, starts[1:]):
        count = min(max(1, int(share * len(images_n) + 0.5)), len(images_n) - 1)
        rng = np.random.RandomState([seed, int(labels_N[images_n[0]])])
        held_N[rng.permutation(images_n)[:count]] = True
    return held_N
