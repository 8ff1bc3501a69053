"""VOC's average precision of boxes by its definition: one detection after another.

A box is left, top, right, bottom, and its last pixel belongs to it. A detection belongs
to the object that it overlaps most; of several that belong to one object the best
scored is right and the others are wrong; what belongs to a difficult object is neither.

Source: Everingham et al., The PASCAL VOC Challenge, 2010, section 4.2, and the
development kit's VOCevaldet.m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Truth:
    """One object: which image, where, and whether it is difficult."""

    image: int
    box: Box
    difficult: bool = False


@dataclass(frozen=True)
class Guess:
    """One detection: which image, where, and its score."""

    image: int
    box: Box
    score: float


def overlap(one: Box, other: Box) -> Fraction:
    """Return intersection over union, counted pixel by pixel."""
    inside = [
        {(x, y) for x in range(box[0], box[2] + 1) for y in range(box[1], box[3] + 1)}
        for box in (one, other)
    ]
    return Fraction(len(inside[0] & inside[1]), len(inside[0] | inside[1]))


def judged(
    guesses: Sequence[Guess], truths: Sequence[Truth], threshold: Fraction
) -> list[bool]:
    """Return of every detection that counts whether it is right, best score first."""
    taken: set[int] = set()
    verdicts = []
    for guess in sorted(guesses, key=lambda g: -g.score):
        best, owner = Fraction(0), None
        for index, truth in enumerate(truths):
            if truth.image != guess.image:
                continue
            shared = overlap(guess.box, truth.box)
            if shared > best:
                best, owner = shared, index
        if owner is None or best < threshold:
            verdicts.append(False)
        elif not truths[owner].difficult:
            verdicts.append(owner not in taken)
            taken.add(owner)
    return verdicts


def average_precision(
    guesses: Sequence[Guess],
    truths: Sequence[Truth],
    threshold: Fraction,
    rule: str,
) -> float | None:
    """Return AP in percent; None where there is no object that is not difficult.

    Args:
        guesses: of one class.
        truths: of that class.
        threshold: least overlap of a right detection.
        rule: ``11points`` or ``area``.
    """
    total = sum(not truth.difficult for truth in truths)
    if not total:
        return None
    points: list[tuple[Fraction, Fraction]] = []
    hits = 0
    for seen, right in enumerate(judged(guesses, truths, threshold), start=1):
        hits += right
        points.append((Fraction(hits, total), Fraction(hits, seen)))

    def best_from(recall: Fraction) -> Fraction:
        return max((p for r, p in points if r >= recall), default=Fraction(0))

    if rule == "11points":
        return float(100 * sum(best_from(Fraction(t, 10)) for t in range(11)) / 11)
    # Between two recalls, the best precision at the second or beyond.
    recalls = sorted({recall for recall, _ in points})
    area, before = Fraction(0), Fraction(0)
    for recall in recalls:
        area += (recall - before) * best_from(recall)
        before = recall
    return float(100 * area)
