"""Handwritten digits: scikit-learn's samples, their split, and how one is drawn.

The samples are 8 x 8 grey images of real handwriting (the test part of "Optical
Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI, 1998: 1,797 digits
of 13 people). They come with scikit-learn, so nothing is downloaded.

A digit is drawn by one affine map from the 8 x 8 samples straight to the pixels of the
picture, with bicubic interpolation, and then cut at a level: a smooth outline at any
size, and cheap. The map is always an enlargement, so nothing aliases.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
)
CELLS = 8  # a sample is 8 x 8 cells
INK = 16  # its grey levels are 0 to 16
MARGIN = 2  # empty cells around it: room for the interpolation at the rim
LEVEL = 104  # of 255: where the outline is cut
INSIDE = 128  # of 255: coverage from which a pixel counts as stroke


@dataclass(frozen=True)
class Digits:
    """All handwritten samples.

    Attributes:
        images: (N, 8, 8) uint8, 0 (paper) to 16 (ink).
        labels: (N,) int64, the digit that was written.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """How one sample is laid into a picture.

    Attributes:
        sample: row of ``Digits``.
        label: the digit that was written.
        x: centre in pixels from the left edge of the picture.
        y: centre in pixels from the upper edge.
        size: pixels from the upper to the lower edge of the 8 cells.
        stretch: width over height.
        angle: turn in degrees, clockwise on the screen.
        colour: red, green, blue of the stroke, 0 to 255.
    """

    sample: int
    label: int
    x: float
    y: float
    size: float
    stretch: float
    angle: float
    colour: tuple[int, int, int]


@functools.cache
def load() -> Digits:
    """Read scikit-learn's digits.

    Returns:
        The 1,797 samples, in scikit-learn's order; the arrays are read-only.
    """
    # Imported here: listing the data sets must not cost scikit-learn's start.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return Digits(images, labels)


def split(
    labels: NDArray[np.int64], rng: np.random.Generator, val_share: float
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Split the samples of every class into two disjoint parts.

    Args:
        labels: (N,) digit of each sample.
        rng: source of the draw.
        val_share: share of each class that goes to the second part, 0 to 1.

    Returns:
        Sample ids by class in a drawn order: for training, and for validation.
    """
    train, val = [], []
    for label in range(len(CLASSES)):
        ids = rng.permutation(np.flatnonzero(labels == label))
        cut = round(len(ids) * val_share)
        val.append(ids[:cut])
        train.append(ids[cut:])
    return train, val


@functools.cache
def _padded(sample: int) -> Image.Image:
    """Return one sample as a grey picture, 0 to 255, with empty cells around it."""
    ink = load().images[sample].astype(np.int64) * 255 // INK
    return Image.fromarray(np.pad(ink, MARGIN).astype(np.uint8))


@functools.cache
def _outline(gain: int) -> list[int]:
    """Return the table that turns ink into coverage; ``gain`` is in quarters."""
    steep = gain / 4
    return [
        min(255, max(0, round((v - LEVEL) * steep + INSIDE))) if v else 0
        for v in range(256)
    ]


def coverage(digit: Placement) -> tuple[Image.Image, tuple[int, int]]:
    """Draw the stroke of one digit.

    Args:
        digit: the sample and where it lies; its colour plays no part.

    Returns:
        A grey picture, 0 (no stroke) to 255 (all stroke), just large enough to hold the
        digit, and the pixel (left, top) of the scene where its upper left corner lies.
        It may reach beyond the scene.
    """
    tall = digit.size / CELLS  # pixels a cell
    wide = tall * digit.stretch
    turn = math.radians(digit.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    side = CELLS + MARGIN  # one empty cell on each side stays in view
    half_w = (abs(cos) * wide + abs(sin) * tall) * side / 2
    half_h = (abs(sin) * wide + abs(cos) * tall) * side / 2
    left, top = math.floor(digit.x - half_w), math.floor(digit.y - half_h)
    width = math.ceil(digit.x + half_w) - left
    height = math.ceil(digit.y + half_h) - top
    dx, dy = digit.x - left, digit.y - top
    middle = CELLS / 2 + MARGIN
    # From a pixel of the picture back to a cell of the sample.
    a, b = cos / wide, sin / wide
    d, e = -sin / tall, cos / tall
    back = (a, b, middle - a * dx - b * dy, d, e, middle - d * dx - e * dy)
    ink = _padded(digit.sample).transform(
        (width, height),
        Image.Transform.AFFINE,
        back,
        resample=Image.Resampling.BICUBIC,
    )
    gain = max(4, round(3.2 * math.sqrt(tall * wide)))
    return ink.point(_outline(gain)), (left, top)


def stroke_mask(digit: Placement, size: int) -> NDArray[np.bool_]:
    """Return the pixels of a square scene that the stroke of one digit fills.

    Args:
        digit: the sample and where it lies.
        size: side of the scene in pixels.

    Returns:
        (size, size) bool; what reaches beyond the scene is cut off.
    """
    drawn, corner = coverage(digit)
    scene = Image.new("L", (size, size))
    scene.paste(drawn, corner)
    return np.asarray(scene) >= INSIDE


def full_area(digit: Placement) -> int:
    """Count the pixels of the whole stroke, with what lies outside the scene."""
    return int((np.asarray(coverage(digit)[0]) >= INSIDE).sum())
