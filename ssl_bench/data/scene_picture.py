"""One scene of digits: its plan, the picture, and which pixel belongs to which digit.

All draws of a scene are made first, into a ``Scene``; painting it and finding its masks
draw nothing. A scene has its own generator, spawned from the seed by what it is for and
by its number, so it never depends on how many others there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data import digits
from ssl_bench.data import scene_clutter as clutter
from ssl_bench.data.digits import Placement

SINGLE_PX = 96
CROWD_PX = 160
CROWD_DIGITS = (2, 5)  # fewest and most digits of a scene of several
SINGLE_SIZE = (34.0, 76.0)  # pixels from the upper to the lower edge of the 8 cells
CROWD_SIZE = (14.0, 72.0)
CROWD_SKEW = 1.7  # above 1: more large digits than small ones
TURN = 18.0  # degrees either way: a six stays a six
STRETCH = (0.8, 1.15)

# Brightness (luma, 0 to 255) and numbers (in 96 x 96 px), from and to. Chosen so that a
# network at random initialisation is near 30 % of k-NN and a trained one has room.
GROUND = (25.0, 80.0)
SWING = (15.0, 45.0)
INK = (190.0, 255.0)
CLUTTER = (35.0, 110.0)
STROKES = (0, 3)
BLOBS = (0, 3)
SCRAPS = (1, 3)
SCRATCHES = (0, 1)
STROKE_PX = (2.0, 6.0)
SCRATCH_PX = (1.0, 2.0)

TRIES = 8  # places looked at for each digit of a crowd
APART = 0.72  # distance of two centres over the mean of their sizes
TOUCHING = 0.42  # the same for the pairs that may cover each other
TOUCHING_SHARE = 0.2


@dataclass(frozen=True)
class Scene:
    """The plan of a picture; later things lie over earlier ones.

    Attributes:
        size: side in pixels.
        texture: the ground.
        blobs: half-transparent ellipses.
        strokes: bent lines.
        scraps: strips of other digits.
        digits: the digits, in the order in which they are painted.
        scratches: thin lines over everything.
    """

    size: int
    texture: clutter.Texture
    blobs: tuple[clutter.Blob, ...]
    strokes: tuple[clutter.Stroke, ...]
    scraps: tuple[clutter.Scrap, ...]
    digits: tuple[Placement, ...]
    scratches: tuple[clutter.Stroke, ...]


@dataclass(frozen=True)
class Instance:
    """What can be seen of one digit.

    Attributes:
        label: the digit.
        mask: (size, size) bool, the visible pixels of its stroke.
        box: left, top, right, bottom of the mask; right and bottom lie outside.
        visible: visible share of the whole stroke, 0 to 1.
    """

    label: int
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    visible: float


def generator(seed: int, *path: int) -> np.random.Generator:
    """Return the generator that belongs to one thing.

    Args:
        seed: the seed of the whole data set.
        path: numbers that name the thing (style, split, image).

    Returns:
        A generator independent of those of all other paths.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=path))


def plan_single(
    rng: np.random.Generator, sample: int, scraps: NDArray[np.int64]
) -> Scene:
    """Plan a picture of 96 px with one digit, all of it inside.

    Args:
        rng: source of all draws.
        sample: the handwritten sample to show.
        scraps: sample ids that scraps may be cut from.

    Returns:
        The plan.
    """
    tall = _between(rng, SINGLE_SIZE, 1.0)
    rim = min(0.45 * tall, SINGLE_PX / 2)
    x, y = (rim + (SINGLE_PX - 2 * rim) * rng.random(2)).tolist()
    digit = _digit(rng, sample, x, y, tall)
    return _surround(rng, SINGLE_PX, (digit,), scraps)


def plan_crowd(
    rng: np.random.Generator,
    pools: Sequence[NDArray[np.int64]],
    scraps: NDArray[np.int64],
) -> Scene:
    """Plan a picture of 160 px with two to five digits of any class.

    Some reach over the rim of the picture, some cover a part of another.

    Args:
        rng: source of all draws.
        pools: sample ids by class that the digits are taken from.
        scraps: sample ids that scraps may be cut from.

    Returns:
        The plan.
    """
    placed: list[Placement] = []
    for _ in range(int(rng.integers(CROWD_DIGITS[0], CROWD_DIGITS[1] + 1))):
        pool = pools[int(rng.integers(len(pools)))]
        sample = int(pool[int(rng.integers(len(pool)))])
        tall = _between(rng, CROWD_SIZE, CROWD_SKEW)
        near = float(rng.random()) < TOUCHING_SHARE
        rim = 0.36 * tall
        places = rim + (CROWD_PX - 2 * rim) * rng.random((TRIES, 2))
        x, y = _free_place(places, tall, placed, TOUCHING if near else APART)
        placed.append(_digit(rng, sample, x, y, tall))
    return _surround(rng, CROWD_PX, tuple(placed), scraps)


def _between(rng: np.random.Generator, span: clutter.Span, skew: float) -> float:
    """Draw a size, evenly in the logarithm where ``skew`` is 1."""
    place = float(rng.random()) ** skew
    return span[1] * math.exp(place * math.log(span[0] / span[1]))


def _digit(
    rng: np.random.Generator, sample: int, x: float, y: float, tall: float
) -> Placement:
    stretch, turn = rng.random(2).tolist()
    return Placement(
        sample=sample,
        label=int(digits.load().labels[sample]),
        x=x,
        y=y,
        size=tall,
        stretch=STRETCH[0] + (STRETCH[1] - STRETCH[0]) * stretch,
        angle=TURN * (2 * turn - 1),
        colour=clutter.draw_colour(rng, INK, 0.8),
    )


def _free_place(
    places: NDArray[np.float64], tall: float, placed: Sequence[Placement], apart: float
) -> tuple[float, float]:
    """Return the first place far enough from all digits, or else the farthest one."""
    best, room = (float(places[0, 0]), float(places[0, 1])), -math.inf
    for x, y in places.tolist():
        gaps = [
            math.hypot(x - other.x, y - other.y) / ((tall + other.size) / 2)
            for other in placed
        ]
        nearest = min(gaps, default=math.inf)
        if nearest > room:
            best, room = (x, y), nearest
        if room >= apart:
            break
    return best


def _surround(
    rng: np.random.Generator,
    size: int,
    shown: tuple[Placement, ...],
    pool: NDArray[np.int64],
) -> Scene:
    """Draw the clutter around the digits."""
    texture = clutter.draw_texture(rng, size, GROUND, SWING)
    blobs, strokes, scraps, scratches = (
        range(clutter.draw_count(rng, span, size))
        for span in (BLOBS, STROKES, SCRAPS, SCRATCHES)
    )
    return Scene(
        size=size,
        texture=texture,
        blobs=tuple(clutter.draw_blob(rng, size, CLUTTER) for _ in blobs),
        strokes=tuple(
            clutter.draw_stroke(rng, size, STROKE_PX, CLUTTER) for _ in strokes
        ),
        scraps=tuple(clutter.draw_scrap(rng, size, CLUTTER, pool) for _ in scraps),
        digits=shown,
        scratches=tuple(
            clutter.draw_stroke(rng, size, SCRATCH_PX, CLUTTER) for _ in scratches
        ),
    )


def paint(scene: Scene) -> Image.Image:
    """Paint a scene: an RGB picture of ``scene.size`` pixels a side."""
    picture = clutter.paint_texture(scene.texture, scene.size)
    for blob in scene.blobs:
        clutter.paint_blob(blob, picture)
    for stroke in scene.strokes:
        clutter.paint_stroke(stroke, picture)
    for scrap in scene.scraps:
        clutter.paint_scrap(scrap, picture)
    for digit in scene.digits:
        mask, corner = digits.coverage(digit)
        picture.paste(digit.colour, clutter.box(mask, corner), mask)
    for scratch in scene.scratches:
        clutter.paint_stroke(scratch, picture)
    return picture


def instances(scene: Scene) -> list[Instance]:
    """Find what can be seen of each digit of a scene.

    Args:
        scene: its plan; nothing of the ground is painted.

    Returns:
        One entry a digit, in painting order; a digit of which no pixel is left (behind
        others, or outside) has none.
    """
    owner = Image.new("L", (scene.size, scene.size))  # 0, or the number of the digit
    areas = []
    for number, digit in enumerate(scene.digits, start=1):
        drawn, corner = digits.coverage(digit)
        solid = drawn.point(_SOLID)
        owner.paste(number, clutter.box(solid, corner), solid)
        areas.append(solid.histogram()[255])
    for scratch in scene.scratches:
        drawn, corner = clutter.stroke_coverage(scratch)
        owner.paste(0, clutter.box(drawn, corner), drawn.point(_SOLID))
    owners = np.asarray(owner)
    found = []
    for number, digit in enumerate(scene.digits, start=1):
        mask = owners == number
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            found.append(
                Instance(
                    label=digit.label,
                    mask=mask,
                    box=(
                        int(columns[0]),
                        int(rows[0]),
                        int(columns[-1]) + 1,
                        int(rows[-1]) + 1,
                    ),
                    visible=int(mask.sum()) / areas[number - 1],
                )
            )
    return found


_SOLID = [255 * (v >= digits.INSIDE) for v in range(256)]
