"""What surrounds the digits: textured ground, strokes, blobs and scraps of digits.

Each thing is first drawn from a generator as a small plan (``draw_…``) and then painted
from that plan (``paint_…``). Painting uses sums and products only, no transcendental
function over pixels, so that the same plan gives the same bytes on another machine.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ssl_bench.data import digits

Span = tuple[float, float]
Colour = tuple[int, int, int]

UNIT = 96  # lengths of clutter are shares of this many pixels, whatever the scene
# Cells across 96 px of each layer of noise, and how much each weighs at most.
OCTAVES = ((3, 1.0), (7, 0.9), (16, 0.7), (40, 0.5))
CURVE_STEPS = 10
STRIP = 0.3  # of a digit's height: how deep a scrap is


@dataclass(frozen=True)
class Texture:
    """A background: mean colour, layers of coarse cells, stripes.

    Attributes:
        base: mean colour.
        swing: how far the noise goes from it, in 0 to 255.
        layers: (c, c, 3) uint8 cells of each octave, coarse to fine.
        weights: weight of each layer.
        stripes: strength, 0 for none.
        turn: direction of the stripes in radians.
        period: of the stripes, in pixels.
        phase: of the stripes, 0 to 1.
    """

    base: Colour
    swing: float
    layers: tuple[NDArray[np.uint8], ...]
    weights: tuple[float, ...]
    stripes: float
    turn: float
    period: float
    phase: float


@dataclass(frozen=True)
class Stroke:
    """A bent line: the three knots of a quadratic Bezier curve, in pixels."""

    knots: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    width: float
    colour: Colour


@dataclass(frozen=True)
class Blob:
    """An ellipse around (x, y), in pixels; ``veil`` is its opacity, 0 to 255."""

    x: float
    y: float
    width: int
    height: int
    veil: int
    colour: Colour


@dataclass(frozen=True)
class Scrap:
    """A strip cut out of a digit: where from, across or along, and from which share."""

    digit: digits.Placement
    across: bool
    start: float


def draw_colour(rng: np.random.Generator, brightness: Span, vivid: float) -> Colour:
    """Draw a colour of any hue.

    Args:
        rng: source of the draw.
        brightness: luma (Rec. 601), 0 to 255, from and to.
        vivid: largest saturation, 0 (grey) to 1.

    Returns:
        Red, green, blue, 0 to 255; a pure hue that cannot be so bright is paled.
    """
    hue, saturation, level = rng.random(3).tolist()
    want = brightness[0] + (brightness[1] - brightness[0]) * level
    pure = colorsys.hsv_to_rgb(hue, saturation * vivid, 1.0)
    scaled = [want * part / luma(pure) for part in pure]
    if max(scaled) > 255:  # mix with the grey of the same luma until it fits
        mix = (255 - want) / (max(scaled) - want)
        scaled = [want + (part - want) * mix for part in scaled]
    red, green, blue = (min(255, max(0, round(part))) for part in scaled)
    return red, green, blue


def luma(colour: tuple[float, float, float]) -> float:
    """Return the brightness of red, green, blue after Rec. 601."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def draw_count(rng: np.random.Generator, span: tuple[int, int], size: int) -> int:
    """Draw how many of a thing lie in a scene; ``span`` is for 96 x 96 px."""
    return round(int(rng.integers(span[0], span[1] + 1)) * (size / UNIT) ** 2)


def draw_texture(
    rng: np.random.Generator, size: int, ground: Span, swing: Span
) -> Texture:
    """Draw a background.

    Args:
        rng: source of the draws.
        size: side of the scene in pixels.
        ground: mean brightness, from and to, in 0 to 255.
        swing: how far the noise goes from it, from and to.

    Returns:
        The plan that ``paint_texture`` takes.
    """
    base = draw_colour(rng, ground, 0.7)
    much, tint, wave, turn, period, phase = rng.random(6).tolist()
    weights = rng.random(len(OCTAVES)).tolist()
    share = np.float32(0.2 + 0.6 * tint)
    layers = []
    for cells, _ in OCTAVES:
        across = max(2, round(cells * size / UNIT))
        grey = rng.integers(0, 256, (across, across, 1), np.uint8)
        hues = rng.integers(0, 256, (across, across, 3), np.uint8)
        layers.append((grey * (1 - share) + hues * share).astype(np.uint8))
    return Texture(
        base=base,
        swing=swing[0] + (swing[1] - swing[0]) * much,
        layers=tuple(layers),
        weights=tuple(w * most for w, (_, most) in zip(weights, OCTAVES, strict=True)),
        stripes=0.7 * max(0.0, wave - 0.4),
        turn=turn * math.pi,
        period=UNIT * (0.06 + 0.25 * period),
        phase=phase,
    )


def paint_texture(texture: Texture, size: int) -> Image.Image:
    """Paint a background of ``size`` x ``size`` pixels, RGB."""
    total = np.zeros((size, size, 3), np.float32)
    for cells, weight in zip(texture.layers, texture.weights, strict=True):
        smooth = Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC)
        total += (np.asarray(smooth, np.float32) / 127.5 - 1) * np.float32(weight)
    if texture.stripes:
        along = np.arange(size, dtype=np.float32)
        across = along * np.float32(math.cos(texture.turn) / texture.period)
        down = along * np.float32(math.sin(texture.turn) / texture.period)
        place = across[None, :] + down[:, None] + np.float32(texture.phase)
        wave = np.abs(place - np.floor(place) - np.float32(0.5)) * 4 - 1
        total += wave[:, :, None] * np.float32(texture.stripes)
    total *= np.float32(texture.swing)
    total += np.array(texture.base, np.float32)
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def draw_stroke(
    rng: np.random.Generator, size: int, width: Span, brightness: Span
) -> Stroke:
    """Draw a bent line somewhere in a scene of ``size`` pixels.

    Args:
        rng: source of the draws.
        size: side of the scene in pixels.
        width: thickness in pixels, from and to.
        brightness: luma of its colour, from and to.

    Returns:
        The plan that ``paint_stroke`` takes.
    """
    x, y, turn, length, bend, thick = rng.random(6).tolist()
    x, y = x * size, y * size
    reach = UNIT * (0.15 + 0.45 * length) / 2
    dx, dy = math.cos(turn * 2 * math.pi) * reach, math.sin(turn * 2 * math.pi) * reach
    sway = (bend - 0.5) * 1.6
    return Stroke(
        knots=((x - dx, y - dy), (x - dy * sway, y + dx * sway), (x + dx, y + dy)),
        width=width[0] + (width[1] - width[0]) * thick,
        colour=draw_colour(rng, brightness, 1.0),
    )


def stroke_coverage(stroke: Stroke) -> tuple[Image.Image, tuple[int, int]]:
    """Paint a bent line by itself.

    Args:
        stroke: its plan.

    Returns:
        A grey picture, 0 (nothing) to 255 (all line), and the pixel of the scene where
        its upper left corner lies.
    """
    (x0, y0), (x1, y1), (x2, y2) = stroke.knots
    points = []
    for step in range(CURVE_STEPS + 1):
        t = step / CURVE_STEPS
        a, b, c = (1 - t) * (1 - t), 2 * t * (1 - t), t * t
        points.append((a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2))
    rim = math.ceil(stroke.width)
    left = math.floor(min(x for x, _ in points)) - rim
    top = math.floor(min(y for _, y in points)) - rim
    wide = math.ceil(max(x for x, _ in points)) + rim - left
    high = math.ceil(max(y for _, y in points)) + rim - top
    # Twice as large and then reduced: that is what makes the edge smooth.
    large = Image.new("L", (2 * wide, 2 * high))
    ImageDraw.Draw(large).line(
        [(2 * (x - left), 2 * (y - top)) for x, y in points],
        fill=255,
        width=max(1, round(2 * stroke.width)),
        joint="curve",
    )
    return large.reduce(2), (left, top)


def paint_stroke(stroke: Stroke, scene: Image.Image) -> None:
    """Paint a bent line onto an RGB scene."""
    mask, corner = stroke_coverage(stroke)
    scene.paste(stroke.colour, box(mask, corner), mask)


def draw_blob(rng: np.random.Generator, size: int, brightness: Span) -> Blob:
    """Draw an ellipse somewhere in a scene of ``size`` pixels."""
    x, y, width, height, veil = rng.random(5).tolist()
    return Blob(
        x=x * size,
        y=y * size,
        width=round(UNIT * (0.06 + 0.24 * width)),
        height=round(UNIT * (0.06 + 0.24 * height)),
        veil=round(90 + 150 * veil),
        colour=draw_colour(rng, brightness, 1.0),
    )


def paint_blob(blob: Blob, scene: Image.Image) -> None:
    """Paint an ellipse onto an RGB scene."""
    large = Image.new("L", (2 * blob.width, 2 * blob.height))
    edge = (0, 0, 2 * blob.width - 1, 2 * blob.height - 1)
    ImageDraw.Draw(large).ellipse(edge, fill=blob.veil)
    mask = large.reduce(2)
    corner = (round(blob.x - blob.width / 2), round(blob.y - blob.height / 2))
    scene.paste(blob.colour, box(mask, corner), mask)


def draw_scrap(
    rng: np.random.Generator, size: int, brightness: Span, pool: NDArray[np.int64]
) -> Scrap:
    """Draw a strip of a digit: strokes of handwriting that are no digit.

    Args:
        rng: source of the draws.
        size: side of the scene in pixels.
        brightness: luma of its colour, from and to.
        pool: sample ids it may be cut from.

    Returns:
        The plan that ``paint_scrap`` takes.
    """
    sample = int(pool[int(rng.integers(len(pool)))])
    x, y, tall, turn, across, start = rng.random(6).tolist()
    return Scrap(
        digit=digits.Placement(
            sample=sample,
            label=int(digits.load().labels[sample]),
            x=x * size,
            y=y * size,
            size=UNIT * (0.25 + 0.35 * tall),
            stretch=0.9,
            angle=360 * turn,
            colour=draw_colour(rng, brightness, 1.0),
        ),
        across=across < 0.5,
        start=0.2 + 0.35 * start,
    )


def paint_scrap(scrap: Scrap, scene: Image.Image) -> None:
    """Paint a strip of a digit onto an RGB scene."""
    drawn, (left, top) = digits.coverage(scrap.digit)
    wide, high = drawn.size
    depth = round(STRIP * scrap.digit.size)
    if scrap.across:
        start = round(high * scrap.start)
        strip, corner = (0, start, wide, start + depth), (left, top + start)
    else:
        start = round(wide * scrap.start)
        strip, corner = (start, 0, start + depth, high), (left + start, top)
    mask = drawn.crop(strip)
    scene.paste(scrap.digit.colour, box(mask, corner), mask)


def box(mask: Image.Image, corner: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a mask whose upper left corner is given."""
    return (*corner, corner[0] + mask.width, corner[1] + mask.height)
