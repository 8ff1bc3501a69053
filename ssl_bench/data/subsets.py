"""Parts of a training split whose labels are used: drawn, or listed.

Axes: N images, n images of the part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data.image_list import ImageDataset, shortened
from ssl_bench.errors import DataError

_NAMED = 3  # lines that a message quotes
_ROUNDING = 1e-9


def draw_fraction(
    targets_N: NDArray[np.integer[Any]], fraction: float, seed: int
) -> NDArray[np.int64]:
    """Draw a class-balanced part of the images.

    Of the m images of class c, with the generator ``numpy.random.RandomState([seed,
    c])``, the first of ``permutation`` of them in ascending order are taken: ``fraction
    * m`` rounded to the nearest whole number, halves up, and at least 1. With many
    small classes the part is therefore larger than ``fraction * N``.

    ``RandomState`` and not the newer ``Generator``: numpy promises its stream for ever
    (NEP 19), so that a seed names the same images under every version.

    Args:
        targets_N: (N,) class of each image.
        fraction: above 0, below 1.
        seed: from 0, below 2^32.

    Returns:
        (n,) indices, rising.

    Raises:
        DataError: for a fraction out of range, for fewer than 1 / ``fraction`` images,
            and for images of several labels.
    """
    if not 0 < fraction < 1:
        raise DataError(
            f"a fraction of {fraction:g} of the training images is not between 0 and "
            "1; 1 % is 0.01"
        )
    if targets_N.ndim != 1:
        raise DataError(
            "a class-balanced part is drawn from images of one label each, and these "
            "have several; take a data set with one label an image"
        )
    if len(targets_N) < (least := math.ceil(1 / fraction - _ROUNDING)):
        raise DataError(
            f"{fraction:.4g} of {len(targets_N)} images is less than one; it takes "
            f"{least} images, or a larger fraction: --cfg-options "
            f"fraction={min(0.5, 10 * fraction):g}"
        )
    drawn = []
    order_N = np.argsort(targets_N, kind="stable")
    starts = np.flatnonzero(np.diff(targets_N[order_N])) + 1
    for images_m in np.split(order_N, starts):
        count = max(1, int(fraction * len(images_m) + 0.5 + _ROUNDING))
        rng = np.random.RandomState([seed, int(targets_N[images_m[0]])])
        drawn.append(rng.permutation(images_m)[:count])
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def read_subset(dataset: ImageDataset, path: Path) -> NDArray[np.int64]:
    """Return the images of a data set that a list names.

    Args:
        dataset: the whole split.
        path: one image a line: its file name (SimCLR's lists), its path below the
            split's folder or below the root; with or without a label behind it, which
            is not used: labels are the data set's own. Blank lines are passed over.

    Returns:
        (n,) indices, rising.

    Raises:
        DataError: for a list that is missing or empty, names that the data set does not
            have, that several of its images have, or that stand there twice; with their
            number and the first ones.
    """
    lines = _lines(path)
    wanted = {name for line in lines for name in _readings(line)}
    index_of: dict[str, int] = {}
    shared: set[str] = set()
    for index, sample in enumerate(dataset.samples):
        for name in _names(sample):
            if name in wanted and index_of.setdefault(name, index) != index:
                shared.add(name)
    found: set[int] = set()
    lost, several, twice = [], [], []
    for line in lines:
        known = next((text for text in _readings(line) if text in index_of), None)
        if known is None:
            lost.append(line)
        elif known in shared:
            several.append(line)
        elif index_of[known] in found:
            twice.append(line)
        else:
            found.add(index_of[known])
    images = f"data set {dataset.name} ({dataset.split})"
    _refuse(
        path,
        lost,
        f"that are not among the {len(dataset)} images of {images}",
        "take the list that belongs to this data set, or complete the data",
    )
    _refuse(
        path,
        several,
        f"that several images of {images} have",
        "write paths below the folder of the split instead of file names",
    )
    _refuse(path, twice, "twice", "name every image once")
    return np.array(sorted(found), dtype=np.int64)


def list_text(dataset: ImageDataset, indices: Sequence[int] | NDArray[np.int64]) -> str:
    """Return the list of some images, ``path label`` a line, as lists are read.

    Args:
        dataset: the whole split; its samples lie below a folder of the split's name.
        indices: of the images, in the order of the lines.
    """
    folder = f"{dataset.split}/"
    return "".join(
        f"{dataset.samples[int(i)].removeprefix(folder)} {int(dataset.targets[i])}\n"
        for i in indices
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        raise DataError(
            f"{path} lists no image; a line reads 'file.JPEG' or 'folder/file.JPEG "
            "label'"
        )
    return lines


def _names(sample: str) -> set[str]:
    """Return what a list may call an image."""
    return {sample, sample.partition("/")[2], sample.rpartition("/")[2]}


def _readings(line: str) -> list[str]:
    """Return the names that a line may mean: with a label at its end, or without."""
    head, _, last = line.rpartition(" ")
    return [line, head.rstrip()] if last.isdigit() and head.strip() else [line]


def _refuse(path: Path, lines: Sequence[str], what: str, advice: str) -> None:
    if lines:
        raise DataError(
            f"{path} has {len(lines)} names {what}: {shortened(lines, _NAMED)}; "
            f"{advice}"
        )
