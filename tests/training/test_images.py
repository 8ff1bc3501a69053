from __future__ import annotations

import gc
import os
import pickle
import random
import re
import signal
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ssl_bench.data import transforms
from ssl_bench.data.folder import Folder
from ssl_bench.errors import ConfigError, DataError
from ssl_bench.training.images import (
    EvalImages,
    EvalSampler,
    GlobalBatchSampler,
    TrainImages,
    make_loader,
)

# One operation of each kind: torchvision draws from torch, timm from random and numpy.
RANDOM: list[dict[str, Any]] = [
    {"type": "RandomResizedCrop", "size": 24},
    {"type": "RandomHorizontalFlip"},
    {"type": "ColorJitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
    {"type": "Lighting", "std": 0.1},
    {"type": "RandAugment", "config": "rand-m9-mstd0.5-inc1"},
    {"type": "RandomErasing", "probability": 0.5, "area": [0.02, 0.33]},
]
CROP: list[dict[str, Any]] = [{"type": "CenterCrop", "size": 24}]
COUNT = 10


@pytest.fixture
def photos(tmp_path: Path) -> Folder:
    """Ten pictures of noise in two classes."""
    for number in range(COUNT):
        path = tmp_path / "train" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.RandomState(number)
        pixels = draw.randint(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return Folder(tmp_path, "train")


def everything(images: TrainImages, epoch: int) -> list[Tensor]:
    return [images[epoch, index][0] for index in range(len(images))]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def states() -> tuple[Any, ...]:
    numbers: Any = np.random.get_state()
    return (
        torch.random.get_rng_state().tolist(),
        numbers[1].tolist(),
        numbers[2:],
        random.getstate(),
    )


# ------------------------------------------------------------------------------ images
def test_an_item(photos: Folder) -> None:
    images = TrainImages(photos, RANDOM, seed=0)

    pixels, target, index = images[3, 7]

    assert len(images) == COUNT
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (3, 24, 24))
    assert (target, index) == (photos.targets[7], 7)


def test_an_item_depends_on_nothing_but_seed_epoch_and_index(photos: Folder) -> None:
    images = TrainImages(photos, RANDOM, seed=3)
    before = everything(images, 1)

    for spoiled in (1, 2):
        random.seed(spoiled)
        np.random.seed(spoiled)
        torch.manual_seed(spoiled)
        again = [images[1, index][0] for index in reversed(range(COUNT))]
        assert same(before, again[::-1])
    assert same(before, everything(TrainImages(photos, RANDOM, seed=3), 1))
    assert same(before, everything(pickle.loads(pickle.dumps(images)), 1))


@pytest.mark.parametrize("operation", range(len(RANDOM)))
def test_every_operation_draws_anew_for_each_of_the_three(
    photos: Folder, operation: int
) -> None:
    # All images are one picture, so that only the draw can tell them apart.
    source = photos.root / photos.samples[0]
    for name in photos.samples[1:]:
        (photos.root / name).write_bytes(source.read_bytes())
    spec = [RANDOM[operation], *CROP]
    images = TrainImages(photos, spec, seed=0)
    first = everything(images, 0)

    assert len({pixels.numpy().tobytes() for pixels in first}) > 1
    assert not same(first, everything(images, 1))
    assert not same(first, everything(TrainImages(photos, spec, seed=1), 0))


def test_the_global_generators_are_left_alone(photos: Folder) -> None:
    before = states()

    images = TrainImages(photos, RANDOM, seed=0)
    everything(images, 0)
    spoiled = photos.root / photos.samples[0]
    spoiled.write_text("no picture")
    with pytest.raises(DataError):
        images[0, 0]

    assert states() == before


def test_images_to_evaluate_on(photos: Folder) -> None:
    images = EvalImages(photos, CROP)
    expected = transforms.build(CROP)(photos.image(4))

    pixels, target, index = images[4]

    assert torch.equal(pixels, expected)
    assert (target, index, len(images)) == (photos.targets[4], 4, COUNT)


def test_a_wrong_operation_is_said_at_once(photos: Folder) -> None:
    kinds: list[Callable[..., Any]] = [EvalImages, partial(TrainImages, seed=0)]
    for make in kinds:
        with pytest.raises(ConfigError, match=r"'RandomFlip'"):
            make(photos, [{"type": "RandomFlip"}])


# ----------------------------------------------------------------------------- batches
def batches(count: int, batch: int, **options: Any) -> list[list[tuple[int, int]]]:
    epoch = options.pop("epoch", 0)
    sampler = GlobalBatchSampler(count, batch, **{"seed": 0, **options})
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(("count", "batch"), [(12, 4), (13, 4), (4, 4), (7, 6), (1, 1)])
def test_an_epoch_is_every_image_once_and_then_its_beginning(
    count: int, batch: int
) -> None:
    found = batches(count, batch, epoch=5)

    flat = [index for part in found for _, index in part]
    assert sorted(flat[:count]) == list(range(count))
    assert flat[count:] == flat[: len(flat) - count]
    assert {len(part) for part in found} == {batch}
    assert {epoch for part in found for epoch, _ in part} == {5}
    # Quotients, rounded up.
    expected = {(12, 4): 3, (13, 4): 4, (4, 4): 1, (7, 6): 2, (1, 1): 1}
    assert len(found) == expected[count, batch]
    assert len(GlobalBatchSampler(count, batch, seed=0)) == len(found)


def test_the_order_follows_seed_and_epoch() -> None:
    def order(**options: Any) -> list[int]:
        return [i for part in batches(50, 5, **options) for _, i in part]

    orders = [order(seed=s, epoch=e) for s in range(3) for e in range(3)]

    assert len({tuple(o) for o in orders}) == 9
    assert order(seed=2, epoch=1) == orders[7]
    assert order(seed=0) != list(range(50))


@pytest.mark.parametrize("count", [24, 29])
@pytest.mark.parametrize("world", [1, 2, 3, 4, 12])
def test_all_processes_together_have_the_batch_of_one(count: int, world: int) -> None:
    alone = batches(count, 12, epoch=2)

    shares = [
        batches(count, 12, epoch=2, rank=rank, world=world) for rank in range(world)
    ]

    for step, whole in enumerate(alone):
        parts = [share[step] for share in shares]
        assert {len(part) for part in parts} == {12 // world}
        assert [key for part in parts for key in part] == whole


def test_an_epoch_can_begin_in_its_middle() -> None:
    sampler = GlobalBatchSampler(20, 4, seed=1, rank=1, world=2)
    whole = list(sampler)
    sampler.first = 3

    assert list(sampler) == whole[3:]
    assert len(sampler) == 5
    sampler.first = 5
    assert list(sampler) == []


def test_the_global_generators_have_no_part_in_the_order() -> None:
    before = states()
    first = batches(30, 5)
    assert states() == before

    with transforms.seeded(99):
        assert batches(30, 5) == first


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((10, 16), {}, "a batch of 16 is larger than the 10 training images; lower"),
        ((0, 1), {}, "larger than the 0 training images"),
        ((10, 0), {}, "a batch of 0 images trains nothing; use 1 or more"),
        ((10, 5), {"world": 2}, "a batch of 5 cannot be shared by 2 processes; start"),
        ((10, 4), {"rank": 2, "world": 2}, "process 2 of 2: it counts from 0 to 1"),
    ],
)
def test_batches_that_cannot_be(
    arguments: tuple[int, int], options: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        GlobalBatchSampler(*arguments, seed=0, **options)


def test_everything_wrong_with_a_batch_comes_together() -> None:
    with pytest.raises(ConfigError) as caught:
        GlobalBatchSampler(10, 25, seed=0, world=2)

    assert len(caught.value.complaints) == 2


@pytest.mark.parametrize(
    ("count", "world", "expected"),
    [
        (7, 1, [[0, 1, 2, 3, 4, 5, 6]]),
        (7, 3, [[0, 3, 6], [1, 4], [2, 5]]),
        (2, 4, [[0], [1], [], []]),
    ],
)
def test_evaluation_sees_every_image_once(
    count: int, world: int, expected: list[list[int]]
) -> None:
    samplers = [EvalSampler(count, rank=r, world=world) for r in range(world)]

    for sampler, indices in zip(samplers, expected, strict=True):
        sampler.set_epoch(3)
        assert list(sampler) == indices
        assert len(sampler) == len(indices)


# ----------------------------------------------------------------------------- loaders
def read(
    photos: Folder, workers: int, batch: int, epoch: int = 0, **options: Any
) -> dict[int, Tensor]:
    images = TrainImages(photos, RANDOM, seed=4)
    sampler = GlobalBatchSampler(len(images), batch, seed=4, **options)
    sampler.set_epoch(epoch)
    found: dict[int, Tensor] = {}
    for pixels, targets, indices in make_loader(
        images, batch_sampler=sampler, workers=workers
    ):
        assert pixels.dtype == torch.uint8
        assert targets.tolist() == photos.targets[indices.tolist()].tolist()
        for picture, index in zip(pixels, indices.tolist(), strict=True):
            assert torch.equal(found.setdefault(index, picture), picture)
    return found


def test_the_same_image_whatever_the_workers_the_batch_and_the_process(
    photos: Folder,
) -> None:
    expected = dict(enumerate(everything(TrainImages(photos, RANDOM, seed=4), 2)))
    ways: list[dict[str, Any]] = [
        {"workers": 0, "batch": 10},
        {"workers": 2, "batch": 3},
        {"workers": 1, "batch": 4, "rank": 0, "world": 2},
        {"workers": 0, "batch": 4, "rank": 1, "world": 2},
    ]

    for way in ways:
        found = read(photos, epoch=2, **way)
        assert all(torch.equal(p, expected[i]) for i, p in found.items())
        assert len(found) == COUNT or "world" in way


def test_workers_that_live_on_follow_the_epoch(photos: Folder) -> None:
    images = TrainImages(photos, RANDOM, seed=0)
    sampler = GlobalBatchSampler(COUNT, COUNT, seed=0)
    loader = make_loader(images, batch_sampler=sampler, workers=1)

    for epoch in (0, 3, 0):
        sampler.set_epoch(epoch)
        ((pixels, _, indices),) = list(loader)
        for picture, index in zip(pixels, indices.tolist(), strict=True):
            assert torch.equal(picture, images[epoch, index][0])


def test_a_loader_to_evaluate_with(photos: Folder) -> None:
    images = EvalImages(photos, CROP)
    for rank, expected in enumerate(([[0, 3, 6], [9]], [[1, 4, 7]], [[2, 5, 8]])):
        loader = make_loader(
            images, sampler=EvalSampler(COUNT, rank=rank, world=3), batch_size=3
        )
        assert [indices.tolist() for _, _, indices in loader] == expected
        assert len(loader) == len(expected)
    nothing = make_loader(images, sampler=EvalSampler(1, rank=1, world=2), batch_size=3)
    assert list(nothing) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_stops_with_its_sentence(
    photos: Folder, workers: int
) -> None:
    path = photos.root / photos.samples[6]
    path.write_text("not a picture")
    sampler = GlobalBatchSampler(COUNT, 2, seed=0)
    loader = make_loader(
        TrainImages(photos, CROP, seed=0), batch_sampler=sampler, workers=workers
    )

    sentence = (
        f"cannot read image {path}: it is not an image that Pillow knows; repair it, "
        "or remove it from the data set: training skips no image"
    )

    for _ in range(2):  # the second time too, with workers that live on
        with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
            list(loader)


def test_an_error_does_not_hold_on_to_the_workers(photos: Folder) -> None:
    (photos.root / photos.samples[6]).write_text("not a picture")
    images = EvalImages(photos, CROP)
    gc.collect()
    gc.disable()
    try:
        loader = make_loader(images, sampler=EvalSampler(COUNT), workers=1)
        with pytest.raises(DataError):
            list(loader)
        alive = weakref.ref(loader._iterator)
        del loader
        assert alive() is None  # without the collector: there is no cycle
    finally:
        gc.enable()


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_different_size_in_one_batch(photos: Folder, workers: int) -> None:
    path = photos.root / photos.samples[2]
    Image.new("RGB", (7, 4)).save(path)
    loader = make_loader(
        EvalImages(photos, []),
        sampler=EvalSampler(COUNT),
        batch_size=5,
        workers=workers,
    )

    with pytest.raises(DataError, match=rf"differ in size: .*{path} is 7 x 4 px"):
        list(loader)


class Killed(EvalImages):
    def __getitem__(self, index: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Mistaken(EvalImages):
    def __getitem__(self, index: int) -> Any:
        raise RuntimeError("a mistake in the code")


def test_a_killed_worker_is_said_in_one_sentence(photos: Folder) -> None:
    loader = make_loader(Killed(photos, CROP), sampler=EvalSampler(COUNT), workers=1)

    with pytest.raises(DataError, match=r"one of the 1 processes .* fewer --workers"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_the_code_is_no_bad_image(photos: Folder, workers: int) -> None:
    images = Mistaken(photos, CROP)

    with pytest.raises(RuntimeError, match="a mistake in the code"):
        list(make_loader(images, sampler=EvalSampler(COUNT), workers=workers))


def test_a_loader_draws_nothing_from_the_global_generators(photos: Folder) -> None:
    before = states()

    for workers in (0, 1):
        read(photos, workers=workers, batch=5)

    assert states() == before


def test_negative_workers(photos: Folder) -> None:
    with pytest.raises(ConfigError, match="workers is -1; use 0 or more"):
        make_loader(EvalImages(photos, []), sampler=EvalSampler(1), workers=-1)
