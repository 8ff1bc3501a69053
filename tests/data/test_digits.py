"""Digits: the samples, their split, and the drawing of one, checked by hand."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import ssl_bench
from ssl_bench.data import digits
from ssl_bench.data.digits import Placement

UPRIGHT = Placement(
    sample=0,
    label=0,
    x=48.0,
    y=48.0,
    size=64.0,
    stretch=1.0,
    angle=0.0,
    colour=(255, 255, 255),
)


def test_samples_are_those_of_scikit_learn() -> None:
    found = digits.load()
    assert found.images.shape == (1797, 8, 8)
    assert found.images.dtype == np.uint8
    assert (found.images.min(), found.images.max()) == (0, 16)
    # The class sizes are printed in scikit-learn's description of the data.
    assert np.bincount(found.labels).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


def test_split_is_disjoint_complete_and_keeps_the_share_of_each_class() -> None:
    labels = digits.load().labels
    train, val = digits.split(labels, np.random.default_rng(3), 0.25)
    everything = np.concatenate([*train, *val])
    assert sorted(everything.tolist()) == list(range(1797))
    for label in range(10):
        assert set(labels[train[label]].tolist()) == {label}
        assert set(labels[val[label]].tolist()) == {label}
        count = len(train[label]) + len(val[label])
        assert abs(len(val[label]) - 0.25 * count) <= 0.5


def test_split_depends_on_the_draw() -> None:
    labels = digits.load().labels
    first, _ = digits.split(labels, np.random.default_rng(1), 0.25)
    again, _ = digits.split(labels, np.random.default_rng(1), 0.25)
    other, _ = digits.split(labels, np.random.default_rng(2), 0.25)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))


def nearest_cells(sample: int, size: int) -> NDArray[np.float64]:
    """Enlarge a sample by repeating its cells: the same picture, without curves."""
    ink = digits.load().images[sample] / 16
    large: NDArray[np.float64] = np.repeat(np.repeat(ink, size // 8, 0), size // 8, 1)
    return large


@pytest.mark.parametrize("sample", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_stroke_lies_where_the_sample_has_ink(sample: int) -> None:
    mask = digits.stroke_mask(replace(UPRIGHT, sample=sample), 96)
    cells = np.zeros((96, 96))
    cells[16:80, 16:80] = nearest_cells(sample, 64)  # 64 px around (48, 48)
    assert cells[mask].mean() > 0.6
    assert cells[~mask].mean() < 0.1
    assert mask[cells >= 12 / 16].mean() > 0.9


def test_position_moves_the_stroke_by_whole_pixels() -> None:
    here = digits.stroke_mask(UPRIGHT, 96)
    there = digits.stroke_mask(replace(UPRIGHT, x=51.0, y=43.0), 96)
    assert (np.roll(here, (-5, 3), axis=(0, 1)) == there).all()


def test_size_scales_the_area_by_its_square() -> None:
    small = digits.full_area(replace(UPRIGHT, size=32.0))
    large = digits.full_area(replace(UPRIGHT, size=64.0))
    assert large / small == pytest.approx(4, rel=0.1)


def test_stretch_changes_the_width_and_not_the_height() -> None:
    plain = digits.stroke_mask(UPRIGHT, 96)
    wide = digits.stroke_mask(replace(UPRIGHT, stretch=1.25), 96)
    assert wide.any(1).sum() == pytest.approx(plain.any(1).sum(), abs=1)
    assert wide.any(0).sum() == pytest.approx(1.25 * plain.any(0).sum(), abs=2)


def test_angle_turns_clockwise_on_the_screen() -> None:
    plain = digits.stroke_mask(replace(UPRIGHT, sample=7), 96)
    turned = digits.stroke_mask(replace(UPRIGHT, sample=7, angle=90.0), 96)
    # np.rot90 with k = -1 turns the picture clockwise as it is seen.
    agreement = (np.rot90(plain, -1) == turned).mean()
    assert agreement > 0.995
    assert (np.rot90(plain, 1) == turned).mean() < 0.95


def test_what_reaches_beyond_the_scene_is_cut_off() -> None:
    at_edge = replace(UPRIGHT, x=0.0)
    mask = digits.stroke_mask(at_edge, 96)
    whole = digits.stroke_mask(UPRIGHT, 96)
    assert (mask[:, :48] == whole[:, 48:]).all()
    assert not mask[:, 48:].any()
    assert digits.full_area(at_edge) == digits.full_area(UPRIGHT) == whole.sum()


def test_the_edge_is_smooth_and_narrow() -> None:
    drawn, _ = digits.coverage(UPRIGHT)
    values = np.asarray(drawn)
    between = ((values > 0) & (values < 255)).sum()
    assert 0 < between < 0.5 * (values == 255).sum()


def test_only_digits_and_folds_import_scikit_learn_in_data() -> None:
    room = Path(ssl_bench.__file__).parent / "data"
    users = set()
    for path in room.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            if any(name.split(".")[0] == "sklearn" for name in names):
                users.add(path.name)
    assert users == {"digits.py", "folds.py"}
