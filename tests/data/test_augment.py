"""Lighting, RandAugment and RandomErasing, against timm and against arithmetic."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing as TimmErasing
from torchvision.transforms import v2

from ssl_bench.data import transforms
from ssl_bench.data.augment import Lighting, RandAugment, RandomErasing
from ssl_bench.errors import ConfigError

WHITE = 255.0
MAE = "rand-m9-mstd0.5-inc1"


@pytest.fixture(autouse=True)
def _own_generators() -> Iterator[None]:
    with transforms.seeded(0):
        yield


def grey(value: int = 128, side: int = 32) -> Image.Image:
    return Image.new("RGB", (side, side), (value,) * 3)


def noise(width: int = 48, height: int = 40, seed: int = 0) -> Image.Image:
    draw = np.random.RandomState(seed)
    return Image.fromarray(draw.randint(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)


# ---------------------------------------------------------------------------- Lighting
class Fixed(Lighting):
    """Lighting with multiples that the test chooses."""

    def __init__(self, *multiples: float) -> None:
        super().__init__(std=1.0)
        self.multiples = multiples

    def forward(self, image: Image.Image) -> Image.Image:
        drawn = torch.tensor(self.multiples, dtype=torch.float64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn", lambda *a, **k: drawn)
            return super().forward(image)


@pytest.mark.parametrize(
    ("multiples", "shift"),
    [
        # Component 1 by 0.1: 255 * 0.2175 * 0.1 = 5.546, times -0.5675, -0.5808 and
        # -0.5836, which is -3.15, -3.22 and -3.24.
        ((0.1, 0, 0), (-3, -3, -3)),
        # Component 2 by 2: 255 * 0.0188 * 2 = 9.588, times 0.7192, -0.0045, -0.6948.
        ((0, 2, 0), (7, 0, -7)),
        # Component 3 by -4: 255 * 0.0045 * -4 = -4.59, times 0.4009, -0.8140, 0.4203.
        ((0, 0, -4), (-2, 4, -2)),
        # All three: -31.47 + 6.9 + 1.84 = -22.7; -32.21 - 0.04 - 3.74 = -36.0;
        # -32.37 - 6.66 + 1.93 = -37.1.
        ((1, 2, 4), (-23, -36, -37)),
    ],
)
def test_lighting_by_hand(
    multiples: tuple[float, float, float], shift: tuple[int, int, int]
) -> None:
    found = pixels(Fixed(*multiples)(grey(128)))

    assert (found - 128 == np.array(shift)).all()


def test_lighting_is_clipped_not_wrapped() -> None:
    assert pixels(Fixed(2, 0, 0)(grey(10))).max() == 0
    assert pixels(Fixed(-2, 0, 0)(grey(250))).min() == 255


def test_lighting_has_the_covariance_of_its_components() -> None:
    # For std s the shifts have the covariance V diag((255 s l)^2) V'.
    vectors = np.array(
        [
            [-0.5675, 0.7192, 0.4009],
            [-0.5808, -0.0045, -0.8140],
            [-0.5836, -0.6948, 0.4203],
        ]
    )
    scaled = WHITE * 0.4 * np.array([0.2175, 0.0188, 0.0045])
    expected = vectors @ np.diag(scaled**2) @ vectors.T
    operation = Lighting(std=0.4)

    shifts = np.array([pixels(operation(grey()))[0, 0] for _ in range(4000)])

    found = np.cov(shifts.T)
    assert np.abs(shifts.mean(axis=0) - 128).max() < 1.5
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_lighting_shifts_all_pixels_alike() -> None:
    image = Image.fromarray(np.asarray(noise()) // 2 + 64)

    shifts = pixels(Lighting(std=0.1)(image)) - pixels(image)

    assert len(np.unique(shifts.reshape(-1, 3), axis=0)) == 1
    assert pixels(Lighting(std=0)(image)).tolist() == pixels(image).tolist()


# ------------------------------------------------------------------------- RandAugment
@pytest.mark.parametrize("config", [MAE, "rand-m5-n3-p0.9", "rand-tweights-m7-mmax20"])
def test_randaugment_is_timms(config: str) -> None:
    ours = RandAugment(config, fill=(1, 2, 3), interpolation=None)
    theirs = rand_augment_transform(config, {"img_mean": (1, 2, 3)})

    for seed in range(20):
        with transforms.seeded(seed):
            found = ours(noise())
        with transforms.seeded(seed):
            expected = theirs(noise())
        assert pixels(found).tolist() == pixels(expected).tolist()


def test_randaugment_fills_and_resamples_as_the_official_code() -> None:
    """The call of MAE's and timm's factory: mean colour, and bicubic."""
    # round(255 * (0.485, 0.456, 0.406)) = (123.7, 116.3, 103.5), rounded
    options = {
        "img_mean": (124, 116, 104),
        "interpolation": Image.Resampling.BICUBIC,
    }
    theirs = rand_augment_transform(MAE, options)

    for seed in range(20):
        with transforms.seeded(seed):
            found = RandAugment(MAE)(noise())
        with transforms.seeded(seed):
            expected = theirs(noise())
        assert pixels(found).tolist() == pixels(expected).tolist()


def test_posterizing_to_no_bit_at_all_leaves_black() -> None:
    """A magnitude of 10 asks for it, and Pillow used to do it."""
    operation = RandAugment("rand-m10-n1-p1-inc1")
    posterize = [o for o in operation._operations.ops if o.name.startswith("Poster")]

    assert len(posterize) == 1
    assert pixels(posterize[0](noise())).max() == 0
    posterize[0].magnitude = 5  # 4 - int(4 * 5 / 10) = 2 bits: 0, 64, 128 and 192
    assert np.unique(pixels(posterize[0](noise()))).tolist() == [0, 64, 128, 192]
    operation = RandAugment("rand-m0-n1-p1")
    posterize = [o for o in operation._operations.ops if o.name.startswith("Poster")]
    posterize[0].magnitude = 0  # int(4 * 0 / 10) = 0 bits
    assert pixels(posterize[0](noise())).max() == 0


def test_randaugment_takes_every_magnitude() -> None:
    operations = [RandAugment(MAE), RandAugment("rand-m9-mstd9"), RandAugment("rand")]
    for seed in range(400):
        with transforms.seeded(seed):
            for operation in operations:
                assert operation(noise()).size == (48, 40)


def test_randaugment_by_its_name_in_a_config() -> None:
    spec = [{"type": "RandAugment", "config": MAE, "interpolation": "nearest"}]
    operation = transforms.build(spec)
    colours = {tuple(c) for c in pixels(noise()).reshape(-1, 3).tolist()}

    assert operation(noise()).shape == (3, 40, 48)
    # Moved pixels are copies, and what is uncovered has the mean colour.
    geometric = RandAugment("rand-m9-n1-p1", interpolation="nearest")
    geometric._operations.ops = [
        op for op in geometric._operations.ops if op.name in ("Rotate", "ShearX")
    ]
    for _ in range(10):
        found = {tuple(c) for c in pixels(geometric(noise())).reshape(-1, 3).tolist()}
        assert found <= colours | {(124, 116, 104)}


# ----------------------------------------------------------------------- RandomErasing
def erased(found: torch.Tensor, value: int) -> tuple[int, int, int, int] | None:
    """Return top, left, height and width of the block that differs from ``value``."""
    changed = (found != value).any(dim=0)
    rows, columns = (changed.any(dim=d).nonzero().flatten() for d in (1, 0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    return top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1


def test_erasing_leaves_what_is_outside_of_its_block() -> None:
    image = noise(60, 50)
    before = v2.functional.pil_to_tensor(image)
    operation = RandomErasing(probability=1, area=(0.1, 0.1))

    found = operation(image)

    assert (found.dtype, found.shape) == (torch.uint8, before.shape)
    changed = (found != before).any(dim=0)
    rows, columns = (changed.any(dim=d).nonzero().flatten() for d in (1, 0))
    block = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert block.float().mean() > 0.98  # a block, but for pixels that happen to agree
    assert abs(block.numel() / changed.numel() - 0.1) < 0.02
    assert torch.equal(before, v2.functional.pil_to_tensor(image))


def test_erasing_does_not_change_the_pixels_it_was_given() -> None:
    given = torch.full((3, 40, 40), 7, dtype=torch.uint8)

    found = RandomErasing(probability=1, area=(0.2, 0.2))(given)

    assert (given == 7).all()
    assert (found != 7).any()


def test_how_often_is_erased() -> None:
    operation = RandomErasing(probability=0.25, area=(0.02, 0.33))

    hits = sum(erased(operation(grey(1)), 1) is not None for _ in range(2000))

    # Binomial: 500 expected, one deviation is sqrt(2000 * 0.25 * 0.75) = 19.4.
    assert abs(hits - 500) < 4 * 19.4
    never = RandomErasing(probability=0, area=(0.02, 0.33))
    assert all(erased(never(grey(1)), 1) is None for _ in range(50))


def test_noise_is_standard_normal_after_normalisation() -> None:
    operation = RandomErasing(probability=1, area=(0.5, 0.5))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    found = []
    for _ in range(20):
        image = operation(grey(1, 100))
        place = erased(image, 1)
        assert place is not None
        top, left, tall, wide = place
        block = image[:, top : top + tall, left : left + wide] / WHITE
        found.append(((block - mean) / std).flatten(1))
    values = torch.cat(found, dim=1)

    # Clipped at 2.0 to 2.6 deviations: for R the mean stays within 0.01 and the
    # deviation falls to about 0.98.
    assert values.mean(dim=1).abs().max() < 0.02
    assert (values.std(dim=1) - 0.98).abs().max() < 0.02
    quartile = values.quantile(0.75, dim=1)
    assert (quartile - 0.6745).abs().max() < 0.02  # of the normal distribution


def test_blocks_are_distributed_as_timms() -> None:
    ours = RandomErasing(probability=1, area=(0.02, 0.33))
    theirs = TimmErasing(1, 0.02, 0.33, mode="pixel", device="cpu")
    side, count = 64, 1500
    sizes: dict[str, list[Any]] = {"ours": [], "theirs": []}

    for _ in range(count):
        sizes["ours"].append(erased(ours(grey(1, side)), 1))
        blank = theirs(torch.full((3, side, side), 9.0))
        sizes["theirs"].append(erased(blank, 9))

    def moments(found: list[Any]) -> NDArray[np.float64]:
        places = np.array([place for place in found if place is not None], float)
        assert len(places) > 0.99 * count
        top, left, tall, wide = places.T
        # Where the block begins, as a share of where it can begin.
        rows, columns = top / (side - tall), left / (side - wide)
        values = np.array([tall * wide / side**2, np.log(tall / wide), rows, columns])
        assert values[0].min() > 0.015
        assert values[0].max() < 0.345
        return np.concatenate([values.mean(axis=1), values.std(axis=1)])

    # Deviations of the means are below 0.7 / sqrt(1500) = 0.018.
    difference = moments(sizes["ours"]) - moments(sizes["theirs"])
    assert np.abs(difference).max() < 5 * 0.018


def test_a_block_can_lie_at_every_edge() -> None:
    # A square of 0.81 of the pixels of 10 x 10 has sides of 9: four places are left.
    operation = RandomErasing(probability=1, area=(0.81, 0.81), aspect=1)

    places = {erased(operation(grey(1, 10)), 1) for _ in range(200)}

    assert places == {(top, left, 9, 9) for top in (0, 1) for left in (0, 1)}


def test_a_picture_too_small_to_erase_stays() -> None:
    operation = RandomErasing(probability=1, area=(0.02, 0.33))

    found = operation(grey(5, 1))

    assert found.tolist() == [[[5]]] * 3


# --------------------------------------------------------------------------- pipelines
TRAIN: list[dict[str, Any]] = [
    {"type": "RandomResizedCrop", "size": 32, "interpolation": "bicubic"},
    {"type": "RandomHorizontalFlip"},
    {"type": "ColorJitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
    {"type": "Lighting", "std": 0.1},
    {"type": "RandAugment", "config": MAE},
    {"type": "RandomErasing", "probability": 0.25, "area": [0.02, 0.33]},
]


def test_a_pipeline_of_all_of_them() -> None:
    before = torch.random.get_rng_state(), random.getstate()
    numbers: Any = np.random.get_state()

    pipeline = transforms.build(TRAIN)
    kinds = transforms.random_operations(TRAIN)

    assert kinds == [item["type"] for item in TRAIN]
    assert transforms.output_size(TRAIN) == (32, 32)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert random.getstate() == before[1]
    after: Any = np.random.get_state()
    assert np.array_equal(after[1], numbers[1])
    assert after[2:] == numbers[2:]
    found = pipeline(noise())
    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (3, 32, 32))


def test_padding_and_cropping_of_small_images() -> None:
    spec: list[dict[str, Any]] = [
        {"type": "RandomCrop", "size": 32, "padding": 4},
        {"type": "RandomHorizontalFlip"},
    ]

    assert transforms.build(spec)(noise(32, 32)).shape == (3, 32, 32)
    assert transforms.random_operations(spec) == ["RandomCrop", "RandomHorizontalFlip"]


@pytest.mark.parametrize(
    ("item", "messages"),
    [
        ({"type": "Lighting"}, ["Lighting needs the argument 'std'"]),
        ({"type": "Lighting", "std": -0.1}, ["std=-0.1 is not 0 or more"]),
        (
            {"type": "RandAugment", "config": "rand-m9-x2", "fill": [1, 2]},
            ["'rand-m9-x2' is none of timm's ('x2' in it is unknown)", "fill=[1, 2]"],
        ),
        (
            {"type": "RandAugment", "config": "augmix-m3"},
            ["it should begin with rand", "rand-m9-mstd0.5-inc1"],
        ),
        ({"type": "RandAugment", "config": "rand-m9.5"}, ["'m9.5' in it is unknown"]),
        (
            {"type": "RandAugment", "config": MAE, "interpolation": "lanczos"},
            ["unknown interpolation 'lanczos'", "bilinear"],
        ),
        (
            {"type": "RandAugment", "num_ops": 2},
            ["unknown argument of transform RandAugment 'num_ops'"],
        ),
        (
            {"type": "RandomErasing", "probability": 2, "area": [0.4, 0.3]},
            ["probability=2 is not between 0 and 1", "area=[0.4, 0.3] is not two"],
        ),
        (
            {"type": "RandomErasing", "probability": 1, "area": [0.1], "aspect": 0},
            ["area=[0.1] is not two shares", "aspect=0 is not above 0"],
        ),
    ],
)
def test_wrong_arguments(item: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        transforms.build([item])

    for message in messages:
        assert message in str(caught.value)
