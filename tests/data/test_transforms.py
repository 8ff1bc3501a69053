from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision import transforms as classic

from ssl_bench.data import transforms
from ssl_bench.data.images import ImageError
from ssl_bench.errors import ConfigError
from ssl_bench.registry import TRANSFORMS

SIZES = [(500, 375), (375, 500), (257, 256), (224, 224), (33, 47), (1, 1), (1000, 31)]


def noise(width: int, height: int) -> Image.Image:
    draw = np.random.RandomState(width * 1000 + height)
    return Image.fromarray(draw.randint(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def registered() -> Iterator[str]:
    @TRANSFORMS.register_module(name="Invert")
    class Invert:
        def __init__(self, times: int = 1) -> None:
            self.times = times

        def __call__(self, image: Image.Image) -> Image.Image:
            return ImageOps.invert(image) if self.times % 2 else image

    yield "Invert"
    TRANSFORMS.module_dict.pop("Invert")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "edge"), [("imagenet", 256), ("upsample224", 224)])
def test_equal_to_the_classic_pipeline(
    name: str, edge: int, size: tuple[int, int]
) -> None:
    image = noise(*size)
    reference = classic.Compose([classic.Resize(edge), classic.CenterCrop(224)])
    expected = np.asarray(reference(image))

    found = transforms.build(name)(image)

    assert (found.dtype, tuple(found.shape)) == (torch.uint8, (3, 224, 224))
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_resizing_is_pillows_antialiased_bilinear() -> None:
    image = noise(512, 512)
    expected = image.resize((256, 256), Image.Resampling.BILINEAR).crop(
        (16, 16, 240, 240)
    )

    found = transforms.build("imagenet")(image)

    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.asarray(expected))


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((500, 375), (341, 256)),  # 256 * 500 / 375 = 341.3, rounded down
        ((375, 500), (256, 341)),
        ((480, 320), (384, 256)),
        ((160, 160), (256, 256)),
        ((40, 20), (512, 256)),
    ],
)
def test_squash_is_two_resizes_of_pillow(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    image = noise(*size)
    bilinear = Image.Resampling.BILINEAR
    expected = image.resize(resized, bilinear).resize((224, 224), bilinear)

    found = transforms.build("squash")(image)

    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_small_leaves_every_pixel() -> None:
    image = noise(31, 17)

    found = transforms.build("small")(image)

    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.asarray(image))
    assert transforms.resolve("small") == ()


def test_what_stands_in_the_record_is_plain_json() -> None:
    for name in transforms.NAMED:
        spec = transforms.resolve(name)
        assert tuple(json.loads(json.dumps(spec))) == spec
        assert transforms.build(spec).spec == spec
    assert transforms.resolve("imagenet") == (
        {"type": "Resize", "size": 256, "interpolation": "bilinear", "antialias": True},
        {"type": "CenterCrop", "size": 224},
    )


def test_a_resolved_transform_is_a_copy() -> None:
    transforms.resolve("imagenet")[0]["size"] = 1

    assert transforms.resolve("imagenet")[0]["size"] == 256


def test_default_for_a_backbone_of_another_size() -> None:
    def sizes(name: str, size: int | None) -> list[int]:
        return [item["size"] for item in transforms.default_spec(name, size)]

    assert sizes("imagenet", None) == [256, 224]
    assert sizes("imagenet", 224) == [256, 224]
    assert sizes("imagenet", 448) == [512, 448]  # twice both
    assert sizes("small", None) == []
    assert sizes("small", 224) == [224, 224]
    assert transforms.default_spec("small", 224) == transforms.resolve("upsample224")
    assert sizes("squash", None) == sizes("squash", 224) == [256, [224, 224]]
    assert sizes("squash", 448) == [512, [448, 448]]
    assert sizes("squash", 96) == [110, [96, 96]]  # 96 * 256 / 224 = 109.7
    assert transforms.default_spec("squash", 224) == transforms.resolve("squash")


def test_an_operation_of_the_registry_comes_first(registered: str) -> None:
    image = noise(5, 4)

    found = transforms.build([{"type": registered, "times": 3}])(image)

    np.testing.assert_array_equal(
        found.permute(1, 2, 0).numpy(), 255 - np.asarray(image)
    )
    assert registered in transforms.names()


def test_unknown_names_give_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown transform 'imagnet'.*'imagenet'"):
        transforms.build("imagnet")
    with pytest.raises(ConfigError, match=r"operation 'Resizes'.*mean 'Resize'"):
        transforms.build([{"type": "Resizes", "size": 3}])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            [{"type": "Resize", "sizes": 8}],
            r"argument of transform Resize 'sizes'.*'size'",
        ),
        ([{"type": "CenterCrop"}], "CenterCrop needs the argument 'size'"),
        ([{"type": "Resize", "size": "big"}], r"Resize\(size='big'\)"),
        ([{"type": "CenterCrop", "size": -4}], r"CenterCrop\(size=-4\)"),
        ([{"type": "Resize", "size": 0}], r"Resize\(size=0\)"),
        ([{"type": "Resize", "size": 8, "interpolation": "bilinar"}], "bilinar"),
        ([{"size": 8}], r"operation 1 .*dict\(type=NAME, ...\)"),
        (["Resize"], "operation 1 .*'Resize'"),
        ([{"type": "Resize", "size": {1, 2}}], "transform Resize: .*plain values"),
        ([{"type": "Compose", "transforms": []}], "unknown transform operation"),
        ([{"type": "Grayscale"}], r"leaves a tensor .*shape \(1, "),
        (
            [{"type": "ToImage"}, {"type": "ToDtype", "dtype": None, "scale": True}],
            "ToDtype",
        ),
    ],
)
def test_bad_operations_are_named(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        transforms.build(spec)
    assert transforms.complaints(spec)


def test_all_complaints_come_together() -> None:
    spec = [{"type": "Resizes"}, {"type": "CenterCrop", "sizes": 1}]

    assert len(transforms.complaints(spec)) == 3  # the name, 'sizes', no 'size'
    assert transforms.complaints("imagenet") == []


def test_building_draws_nothing_from_the_global_generator() -> None:
    before = torch.random.get_rng_state()

    transforms.build(
        [{"type": "RandomHorizontalFlip"}, {"type": "CenterCrop", "size": 8}]
    )

    assert torch.equal(before, torch.random.get_rng_state())


def test_a_tensor_operation_may_end_the_list() -> None:
    image = noise(9, 9)

    found = transforms.build([{"type": "PILToTensor"}])(image)

    assert type(found) is torch.Tensor
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.asarray(image))


def test_a_long_thin_image_is_refused_before_it_fills_the_memory() -> None:
    # 256 * 256 * 3000 pixels are 197 million, above Pillow's 89 million.
    with pytest.raises(ImageError, match=r"measures 3000 x 1 px.*256 px.*89478485"):
        transforms.build("imagenet")(Image.new("RGB", (3000, 1)))


def test_a_moderately_thin_image_passes() -> None:
    found = transforms.build("imagenet")(Image.new("RGB", (2, 200), (9, 8, 7)))

    assert found.unique().tolist() == [7, 8, 9]


SIZE = {"type": "CenterCrop", "size": [30, 20]}


@pytest.mark.parametrize(
    ("transform", "size"),
    [
        ("imagenet", (224, 224)),
        ("upsample224", (224, 224)),
        ("squash", (224, 224)),
        ("small", None),
        ([SIZE], (30, 20)),
        ([{"type": "Resize", "size": 64}], None),
        ([{"type": "RandomHorizontalFlip"}, SIZE], (30, 20)),
        ([{"type": "RandomCrop", "size": 300}], (300, 300)),  # no small image passes
        ([SIZE, {"type": "RandomZoomOut", "p": 0.5}], None),
        ([SIZE, {"type": "PILToTensor"}], (30, 20)),
    ],
)
def test_the_size_that_every_image_ends_in(
    transform: Any, size: tuple[int, int] | None
) -> None:
    before = torch.random.get_rng_state(), random.getstate()

    assert transforms.output_size(transform) == size

    assert torch.equal(before[0], torch.random.get_rng_state())
    assert random.getstate() == before[1]


def test_the_size_of_a_wrong_transform() -> None:
    with pytest.raises(ConfigError, match="operation 'Resizes'"):
        transforms.output_size([{"type": "Resizes"}])
