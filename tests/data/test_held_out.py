"""What is held out of a training split: a share of every class, drawn from a seed."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_bench.data.held_out import draw_held_out, hold_out
from ssl_bench.errors import DataError
from tests.reference import probe as reference


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_every_class_gives_its_share(share: float) -> None:
    """Rounded, half up; at least one image, and never the last one."""
    sizes = [1, 2, 3, 5, 10, 14, 15, 100]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.random.default_rng(0).permutation(labels)
    held = draw_held_out(labels, share, seed=4)
    for c, size in enumerate(sizes):
        expected = min(max(1, int(share * size + 0.5)), size - 1)
        assert held[labels == c].sum() == expected


def test_the_draw_is_the_written_one() -> None:
    labels = np.random.default_rng(1).integers(0, 7, 200)
    for seed in (0, 5, 2**32 - 1):
        held = draw_held_out(labels, 0.2, seed)
        assert np.flatnonzero(held).tolist() == reference.hold_out(labels, 0.2, seed)
    # Written down once: numpy promises this stream for ever.
    held = draw_held_out(np.zeros(10, int), 0.3, 0)
    assert np.flatnonzero(held).tolist() == [3, 6, 7]


def test_another_seed_draws_others_and_the_same_one_the_same() -> None:
    labels = np.arange(300) % 3
    first, second = draw_held_out(labels, 0.1, 1), draw_held_out(labels, 0.1, 2)
    assert (first != second).any()
    assert (first == draw_held_out(labels, 0.1, 1)).all()


def test_classes_are_numbered_without_gaps() -> None:
    part = hold_out(np.array([7, 3, 7, 3, 9, 9]), "train", share=0.5, seed=0)
    assert part.classes_C.tolist() == [3, 7, 9]
    assert part.labels_N.tolist() == [1, 0, 1, 0, 2, 2]
    assert part.classes_C[part.labels_N].tolist() == [7, 3, 7, 3, 9, 9]
    assert part.held_N.sum() == 3
    assert part.warnings(3, np.array([3, 7, 9]), "val") == []
    assert part.warnings(0, np.array([3, 7, 9]), "val") == []


def test_what_is_odd_is_said() -> None:
    part = hold_out(np.array([0, 0, 1, 4]), "train", share=0.5, seed=0)
    assert part.held_N[2:].tolist() == [False, False]
    said = part.warnings(6, np.array([0, 2, 2, 3, 4]), "val")
    assert said == [
        "2 classes have one image in train, which is not held out: they have no say in "
        "the choice of settings",
        "3 of 6 classes have no image in train",
        "2 classes of val are not in train; their 3 images count as wrong",
    ]


def test_what_cannot_be_held_out_is_refused() -> None:
    with pytest.raises(DataError, match="all 3 images of train are of one class"):
        hold_out(np.array([2, 2, 2]), "train", share=0.1, seed=0)
    with pytest.raises(DataError, match="each of the 3 classes of train has one image"):
        hold_out(np.array([2, 1, 5]), "train", share=0.1, seed=0)
