"""One scene: the plan, the painting order, and what can be seen of each digit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data import digits, scene_clutter, scene_layouts, scene_picture
from ssl_bench.data.digits import Placement
from ssl_bench.data.scene_picture import Scene

POOLS, _ = scene_layouts.sample_pools(0)
POOL = scene_layouts.scrap_pool(POOLS)


def flat(colour: tuple[int, int, int]) -> scene_clutter.Texture:
    """A ground of one colour."""
    cells = np.zeros((2, 2, 3), np.uint8)
    return scene_clutter.Texture(colour, 0.0, (cells,), (0.0,), 0.0, 0.0, 10.0, 0.0)


def placed(x: float, colour: tuple[int, int, int], sample: int = 0) -> Placement:
    return Placement(
        sample=sample,
        label=sample,
        x=x,
        y=50.0,
        size=50.0,
        stretch=1.0,
        angle=0.0,
        colour=colour,
    )


def plain(*shown: Placement) -> Scene:
    return Scene(100, flat((10, 20, 30)), (), (), (), shown, ())


def test_a_plain_scene_has_two_colours_and_their_mixtures() -> None:
    digit = placed(50.0, (200, 220, 240))
    pixels = np.asarray(scene_picture.paint(plain(digit)))
    (found,) = scene_picture.instances(plain(digit))
    assert (pixels[0, 0] == (10, 20, 30)).all()
    drawn = np.zeros((100, 100), np.uint8)
    cover, (left, top) = digits.coverage(digit)
    values = np.asarray(cover)
    drawn[top : top + values.shape[0], left : left + values.shape[1]] = values
    assert (pixels[drawn == 255] == (200, 220, 240)).all()
    assert (pixels[drawn == 0] == (10, 20, 30)).all()
    # A pixel belongs to the digit exactly where at least half of it is covered.
    assert (found.mask == (drawn >= 128)).all()
    assert found.visible == 1.0


def test_later_digits_cover_earlier_ones() -> None:
    below, above = placed(45.0, (250, 0, 0)), placed(55.0, (0, 250, 0), sample=1)
    alone = scene_picture.instances(plain(below))[0]
    first, second = scene_picture.instances(plain(below, above))
    top = digits.stroke_mask(above, 100)
    assert (second.mask == top).all() and second.visible == 1.0
    assert (first.mask == (alone.mask & ~top)).all()
    assert first.visible == pytest.approx(first.mask.sum() / alone.mask.sum())
    assert 0 < first.visible < 1


def test_a_digit_behind_another_has_no_instance() -> None:
    twice = placed(50.0, (250, 0, 0)), placed(50.0, (0, 250, 0))
    (found,) = scene_picture.instances(plain(*twice))
    assert found.visible == 1.0


def test_what_lies_outside_counts_as_not_visible() -> None:
    (found,) = scene_picture.instances(plain(placed(0.0, (250, 0, 0))))
    assert found.box[0] == 0
    whole = digits.full_area(placed(50.0, (250, 0, 0)))
    assert found.visible == pytest.approx(found.mask.sum() / whole)
    assert found.visible < 0.7


def test_a_scratch_takes_pixels_away() -> None:
    digit = placed(50.0, (250, 250, 250))
    scratch = scene_clutter.Stroke(
        ((0.0, 50.0), (50.0, 50.0), (100.0, 50.0)), 4.0, (1, 2, 3)
    )
    scene = replace(plain(digit), scratches=(scratch,))
    (found,) = scene_picture.instances(scene)
    (whole,) = scene_picture.instances(plain(digit))
    pixels = np.asarray(scene_picture.paint(scene))
    assert not found.mask[49:51].any()
    assert (pixels[50, 5:95] == (1, 2, 3)).all()
    assert (found.mask[:46] == whole.mask[:46]).all()
    assert (found.mask[55:] == whole.mask[55:]).all()


def test_box_is_the_extent_of_the_mask() -> None:
    for index in range(40):
        for item in scene_picture.instances(scene_layouts.plan_voc(0, 0, index)):
            left, top, right, bottom = item.box
            inside = item.mask[top:bottom, left:right]
            assert inside.sum() == item.mask.sum()
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()


def test_one_digit_pictures_keep_the_digit_inside_and_legible() -> None:
    for index in range(60):
        scene = scene_layouts.plan_imagenet(0, 0, index)
        (digit,) = scene.digits
        assert scene.size == 96 and abs(digit.angle) <= 18
        assert 34 <= digit.size <= 76
        (found,) = scene_picture.instances(scene)
        assert found.visible > 0.75
        pixels = np.asarray(scene_picture.paint(scene), np.float64)
        bright = pixels @ (0.299, 0.587, 0.114)
        assert np.median(bright[found.mask]) > np.median(bright[~found.mask]) + 60


def test_crowds_have_two_to_five_digits_of_every_class_and_many_sizes() -> None:
    plans = [scene_layouts.plan_voc(0, 0, index) for index in range(200)]
    assert {len(plan.digits) for plan in plans} == {2, 3, 4, 5}
    shown = [digit for plan in plans for digit in plan.digits]
    assert {digit.label for digit in shown} == set(range(10))
    labels = digits.load().labels
    assert all(labels[digit.sample] == digit.label for digit in shown)
    sizes = [digit.size for digit in shown]
    assert min(sizes) < 18 and max(sizes) > 65
    seen = [len(scene_picture.instances(plan)) for plan in plans]
    assert seen == [len(plan.digits) for plan in plans]


def test_painting_draws_nothing() -> None:
    scene = scene_layouts.plan_coco(3, 1, 4)
    first, second = scene_picture.paint(scene), scene_picture.paint(scene)
    assert first.tobytes() == second.tobytes()
    assert first.size == (160, 160) and first.mode == "RGB"


@pytest.mark.parametrize("brightness", [(20.0, 60.0), (100.0, 120.0), (200.0, 254.0)])
def test_colours_have_the_asked_brightness(brightness: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        colour = scene_clutter.draw_colour(rng, brightness, 1.0)
        assert all(0 <= part <= 255 for part in colour)
        value = scene_clutter.luma(colour)
        assert brightness[0] - 1 <= value <= brightness[1] + 1


def test_stripes_repeat_with_their_period_in_their_direction() -> None:
    texture = replace(flat((100, 100, 100)), swing=50.0, stripes=1.0, period=12.0)
    across = np.asarray(scene_clutter.paint_texture(texture, 60))[:, :, 0]
    assert (across == across[0]).all()
    assert (across[:, 12:] == across[:, :-12]).all()
    assert (int(across.min()), int(across.max())) == (50, 150)
    down = replace(texture, turn=math.pi / 2)
    turned = np.asarray(scene_clutter.paint_texture(down, 60))[:, :, 0]
    assert np.abs(turned.T.astype(int) - across).max() <= 1


def test_a_straight_stroke_has_its_width_and_place() -> None:
    stroke = scene_clutter.Stroke(
        ((10.0, 20.0), (30.0, 20.0), (50.0, 20.0)), 4.0, (255, 255, 255)
    )
    scene = Image.new("RGB", (60, 40))
    scene_clutter.paint_stroke(stroke, scene)
    solid = np.asarray(scene)[:, :, 0] >= 128
    assert set(solid[:, 15:45].sum(0).tolist()) <= {4, 5}
    rows = np.flatnonzero(solid[:, 30])
    assert rows.mean() == pytest.approx(19.5, abs=0.5)
    assert not solid[:, :8].any() and not solid[:, 53:].any()


def test_a_blob_is_an_ellipse_of_its_size_and_opacity() -> None:
    blob = scene_clutter.Blob(30.0, 20.0, 20, 12, 255, (200, 200, 200))
    scene = Image.new("RGB", (60, 40))
    scene_clutter.paint_blob(blob, scene)
    solid = np.asarray(scene)[:, :, 0] > 100
    assert solid.sum() == pytest.approx(math.pi * 10 * 6, rel=0.03)
    scene_clutter.paint_blob(replace(blob, veil=51, colour=(0, 0, 0)), scene)
    assert np.asarray(scene)[20, 30, 0] == pytest.approx(200 * 0.8, abs=1)


def test_a_scrap_is_a_strip_of_a_digit() -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(60):
        scrap = scene_clutter.draw_scrap(rng, 96, (200.0, 250.0), POOL)
        centred = replace(scrap.digit, x=60.0, y=60.0, colour=(255, 255, 255))
        scene = Image.new("RGB", (120, 120))
        scene_clutter.paint_scrap(replace(scrap, digit=centred), scene)
        piece = np.asarray(scene)[:, :, 0] >= 128
        whole = digits.stroke_mask(centred, 120)
        assert (piece <= whole).all()
        assert piece.sum() < 0.8 * whole.sum()
        shares.append(piece.sum() / whole.sum())
    assert 0.2 < np.mean(shares) < 0.5
