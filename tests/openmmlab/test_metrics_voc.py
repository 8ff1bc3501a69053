"""VOC's AP of boxes against hands and a slow reference."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from tests.openmmlab.built import CLASSES, found_by, instances, metric
from tests.reference import voc_ap
from tests.reference.voc_ap import Guess, Truth

pytestmark = pytest.mark.filterwarnings("ignore")


def voc(
    truths: dict[int, list[Truth]], guesses: dict[int, list[Guess]], images: int
) -> list[dict[str, Any]]:
    """Return what MMDetection gives a metric, of boxes by label."""

    def parts(of: dict[int, list[Any]], image: int, **wanted: Any) -> Any:
        chosen = [
            (item, label)
            for label, items in of.items()
            for item in items
            if item.image == image
            and all(getattr(item, k) is v for k, v in wanted.items())
        ]
        return [i for i, _ in chosen], [label for _, label in chosen]

    samples = []
    for image in range(images):
        easy, easy_labels = parts(truths, image, difficult=False)
        hard, hard_labels = parts(truths, image, difficult=True)
        seen, seen_labels = parts(guesses, image)
        samples.append(
            {
                "gt_instances": instances([t.box for t in easy], easy_labels),
                "ignored_instances": instances([t.box for t in hard], hard_labels),
                "pred_instances": instances(
                    [g.box for g in seen],
                    seen_labels,
                    scores=torch.tensor([g.score for g in seen]),
                ),
            }
        )
    return samples


def voc_values(
    truths: dict[int, list[Truth]],
    guesses: dict[int, list[Guess]],
    rule: str,
    thresholds: Sequence[float],
    images: int = 1,
) -> tuple[dict[str, float], dict[str, float]]:
    made = metric("VocPrecision", iou_thrs=list(thresholds), eval_mode=rule)
    values = found_by(made, voc(truths, guesses, images))
    return values, made.classwise_AP


NEAR, FAR = (0, 0, 9, 9), (50, 50, 69, 69)


@pytest.mark.parametrize(
    ("rule", "expected"),
    # Right, wrong, right of two: precision 1 up to recall 1/2, then 2/3.
    [("11points", 100 * (6 + 5 * 2 / 3) / 11), ("area", 100 * (1 / 2 + 1 / 3))],
)
def test_both_rules_of_voc_by_hand(rule: str, expected: float) -> None:
    truths = {0: [Truth(0, NEAR), Truth(0, FAR)]}
    guesses = {
        0: [Guess(0, NEAR, 0.9), Guess(0, (20, 0, 29, 9), 0.8), Guess(0, FAR, 0.7)]
    }
    values, classes = voc_values(truths, guesses, rule, [0.5])
    assert values == {
        "pascal_voc/AP": pytest.approx(expected, abs=1e-4),
        "pascal_voc/AP50": pytest.approx(expected, abs=1e-4),
    }
    assert classes["cat"] == pytest.approx(expected, abs=1e-4)
    assert np.isnan(classes["dog"])
    assert list(classes) == list(CLASSES)


def test_the_last_pixel_belongs_to_a_box() -> None:
    """10 x 5 of 10 x 10 pixels are a half; without the last ones they would not be."""
    truths = {0: [Truth(0, NEAR)]}
    half = {0: [Guess(0, (0, 0, 9, 4), 0.9)]}
    values, _ = voc_values(truths, half, "11points", [0.5, 0.55])
    assert values["pascal_voc/AP50"] == pytest.approx(100)
    assert values["pascal_voc/AP55"] == 0
    assert values["pascal_voc/AP"] == pytest.approx(50)


def test_difficult_objects_are_neither_asked_for_nor_held_against() -> None:
    truths = {0: [Truth(0, NEAR), Truth(0, FAR, difficult=True)], 1: [Truth(0, FAR)]}
    sure = {0: [Guess(0, FAR, 0.95), Guess(0, NEAR, 0.9), Guess(0, FAR, 0.85)]}
    values, classes = voc_values(truths, sure, "area", [0.5])
    assert classes["cat"] == pytest.approx(100)
    assert classes["dog"] == 0  # there, and not found
    assert values["pascal_voc/AP50"] == pytest.approx(50)
    # Twice on an object that is not difficult: the second is wrong, and comes first.
    twice = {0: [Guess(0, NEAR, 0.9), Guess(0, (0, 0, 9, 8), 0.95)]}
    assert voc_values(truths, twice, "area", [0.5])[1]["cat"] == pytest.approx(100)
    more = {0: [Truth(0, NEAR), Truth(0, (20, 0, 29, 9))]}
    assert voc_values(more, twice, "area", [0.5])[1]["cat"] == pytest.approx(50)


@pytest.mark.parametrize("rule", ["11points", "area"])
def test_voc_against_the_slow_reference(rule: str) -> None:
    rng = np.random.default_rng(5)

    def box(near: Any = None) -> Any:
        if near is None:
            left, top = rng.integers(0, 30, 2)
            return tuple(map(int, (left, top, *rng.integers(32, 48, 2))))
        return tuple(int(edge) for edge in np.array(near) + rng.integers(-4, 5, 4))

    images, truths, guesses = 3, {}, {}
    # No count makes a recall of exactly 0.3, 0.6 or 0.7, where floats disagree.
    for label, count in ((0, 7), (1, 4)):
        truths[label] = [Truth(int(rng.integers(images)), box()) for _ in range(count)]
        truths[label] += [Truth(int(rng.integers(images)), box(), True)]
        near = [box(t.box) for t in truths[label] * 2]
        places = [t.image for t in truths[label] * 2]
        near += [box() for _ in range(4)]
        places += [int(rng.integers(images)) for _ in range(4)]
        scores = rng.permutation(len(near)) / len(near)
        guesses[label] = [
            Guess(i, b, round(float(s), 4))
            for i, b, s in zip(places, near, scores, strict=True)
        ]
    guesses[2] = [Guess(0, box(), 0.5)]  # a class that is nowhere
    thresholds = [0.5, 0.75]
    values, classes = voc_values(truths, guesses, rule, thresholds, images)
    means = []
    for threshold in thresholds:
        by_class = [
            voc_ap.average_precision(
                guesses[label], truths[label], Fraction(threshold), rule
            )
            for label in truths
        ]
        assert all(value is not None and 0 < value < 100 for value in by_class)
        means.append(np.mean([value for value in by_class if value is not None]))
        name = f"pascal_voc/AP{round(100 * threshold)}"
        assert values[name] == pytest.approx(means[-1], abs=1e-3)
        if threshold == thresholds[0]:
            found = [classes[CLASSES[label]] for label in truths]
            assert found == pytest.approx(by_class, abs=1e-3)
    assert values["pascal_voc/AP"] == pytest.approx(np.mean(means), abs=1e-3)
    assert np.isnan(classes["owl"])


def test_the_ten_thresholds_have_their_names() -> None:
    thresholds = [0.5 + 0.05 * i for i in range(10)]
    values, _ = voc_values(
        {0: [Truth(0, NEAR)]}, {0: [Guess(0, NEAR, 1.0)]}, "11points", thresholds
    )
    named = {f"pascal_voc/AP{50 + 5 * i}" for i in range(10)}
    assert set(values) == named | {"pascal_voc/AP"}
    assert all(value == pytest.approx(100) for value in values.values())
