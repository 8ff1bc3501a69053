"""Average precision by its definition: one image after another, nothing clever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def curve(
    scores: Sequence[float], positive: Sequence[bool]
) -> list[tuple[Fraction, Fraction]]:
    """Return (recall, precision) after every image, the highest score first."""
    order = sorted(range(len(scores)), key=lambda image: (-scores[image], image))
    total = sum(map(bool, positive))
    points, hits = [], 0
    for seen, image in enumerate(order, start=1):
        hits += bool(positive[image])
        points.append((Fraction(hits, total), Fraction(hits, seen)))
    return points


def eleven_points(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Return the mean of the best precision at recalls 0, 0.1 ... 1, in percent."""
    points = curve(scores, positive)
    best = []
    for tenth in range(11):
        reached = [p for recall, p in points if recall >= Fraction(tenth, 10)]
        best.append(max(reached, default=Fraction(0)))
    return float(100 * sum(best) / 11)


def envelope(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """Return the area below the right-to-left maximum of precision, in percent."""
    points = curve(scores, positive)
    areas, best = [], Fraction(0)
    for number in reversed(range(len(points))):
        recall, precision = points[number]
        before = points[number - 1][0] if number > 0 else Fraction(0)
        best = max(best, precision)
        areas.append(float((recall - before) * best))
    return 100 * math.fsum(areas)
