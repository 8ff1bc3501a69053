"""Images to train and to evaluate on, the same whatever process or worker reads them.

Axes: 3 channels, H x W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ssl_bench.data import ImageDataset, collate, transforms
from ssl_bench.data.images import ImageError
from ssl_bench.data.loading import received, start_worker
from ssl_bench.errors import ConfigError, DataError

Key = tuple[int, int]
"""Epoch and index of a training image."""

Item = tuple[Tensor, Any, int]
"""Pixels (3, H, W) uint8, target, index."""

BatchItems = tuple[Tensor, Tensor, Tensor]
"""Pixels (B, 3, H, W) uint8, targets, indices (B,)."""


class TrainImages(Dataset[Item]):
    """Augment images; what is drawn depends on seed, epoch and index alone.

    The same item comes out whatever worker or process makes it, in whatever order. The
    global generators are left as they were.

    Args:
        dataset: one split.
        transform: operations, random ones among them.
        seed: of the draws.

    Raises:
        ConfigError: with everything that is wrong with the operations.
    """

    def __init__(
        self, dataset: ImageDataset, transform: Sequence[Mapping[str, Any]], seed: int
    ) -> None:
        self.dataset, self.seed = dataset, seed
        self._transform = transforms.build(list(transform))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Item:
        epoch, index = key
        image, target = _whole(self.dataset, index)
        with transforms.seeded(_number(self.seed, "image", epoch, index)):
            return self._transform(image), target, index


def _whole(dataset: ImageDataset, index: int) -> tuple[Any, Any]:
    """Return image and target; training leaves no image out."""
    try:
        image, target, _ = dataset[index]
    except ImageError as error:
        raise DataError(
            f"cannot read image {error.path}: {error.reason}; repair it, or remove it "
            "from the data set: training skips no image"
        ) from error
    return image, target


class EvalImages(Dataset[Item]):
    """Bring images to what the backbone sees, always in the same way.

    Args:
        dataset: one split.
        transform: operations, none of them random.

    Raises:
        ConfigError: with everything that is wrong with the operations.
    """

    def __init__(
        self, dataset: ImageDataset, transform: Sequence[Mapping[str, Any]]
    ) -> None:
        self.dataset = dataset
        self._transform = transforms.build(list(transform))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item:
        image, target = _whole(self.dataset, index)
        return self._transform(image), target, index


class GlobalBatchSampler(Sampler[list[Key]]):
    """Give this process's share of every global batch, as (epoch, index) pairs.

    Each epoch is one permutation of all images. The last batch is filled up from the
    permutation's start, so that every step has the recipe's whole batch. The shares of
    all processes together are the batch of a single one.

    Args:
        count: images of the data set.
        batch: of one step, over all processes.
        seed: of the permutations.
        rank: of this process.
        world: processes.

    Attributes:
        epoch: whose order is given next.
        first: batch of this epoch to begin with; the length stays the whole epoch's.

    Raises:
        ConfigError: if the batch is larger than the data, or cannot be shared.
    """

    def __init__(
        self, count: int, batch: int, *, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if wrong := _batch_complaints(count, batch, rank, world):
            raise ConfigError(wrong)
        self.count, self.batch, self.seed = count, batch, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.first = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __iter__(self) -> Iterator[list[Key]]:
        draw = torch.Generator().manual_seed(_number(self.seed, "order", self.epoch))
        order = torch.randperm(self.count, generator=draw)
        order = torch.cat([order, order[: len(self) * self.batch - self.count]])
        share = self.batch // self.world
        epoch = self.epoch
        for step in range(self.first, len(self)):
            start = step * self.batch + self.rank * share
            part = order[start : start + share].tolist()
            yield [(epoch, index) for index in part]


class EvalSampler(Sampler[int]):
    """Give every image to exactly one process; a process may get none.

    Args:
        count: images of the data set.
        rank: of this process.
        world: processes.
    """

    def __init__(self, count: int, *, rank: int = 0, world: int = 1) -> None:
        self._indices = range(rank, count, world)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: every epoch has the same order."""

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)


class ImageLoader(DataLoader[Any]):
    """Iterate over (B, 3, H, W) uint8 pixels, targets and (B,) indices.

    `make_loader` makes it.
    """

    def __iter__(self) -> Iterator[BatchItems]:  # type: ignore[override]
        """Yield the batches of the sampler, in its order.

        Raises:
            DataError: for an unreadable image (`ImageError`), for images of different
                size in one batch, and when a worker process was killed.
        """
        return received(super().__iter__(), self.num_workers)


def make_loader(
    images: TrainImages | EvalImages,
    *,
    batch_sampler: Any = None,
    sampler: Sampler[int] | None = None,
    batch_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> ImageLoader:
    """Return a loader that is the same whatever the number of workers.

    It draws nothing from the global generators. Worker processes live as long as the
    loader.

    Args:
        images: to train or to evaluate on.
        batch_sampler: gives lists of keys of ``images``, and decides everything.
        sampler: without a ``batch_sampler``: gives the keys one by one.
        batch_size: without a ``batch_sampler``: images of a batch; the last one may be
            smaller.
        workers: processes that decode; 0 decodes in this one.
        pin_memory: page-lock the batches, which is of use only on their way to CUDA.

    Raises:
        ConfigError: for negative ``workers``.
    """
    if workers < 0:
        raise ConfigError([f"workers is {workers}; use 0 or more"])
    if batch_sampler is not None:
        order: dict[str, Any] = {"batch_sampler": batch_sampler}
    else:
        order = {"sampler": sampler, "batch_size": batch_size}
    return ImageLoader(
        _Handed(images),
        **order,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_Collate(images.dataset),
        pin_memory=pin_memory,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # or it would draw from the global one
    )


class _Handed(Dataset[Any]):
    """Hand over an item, or the error in its place."""

    def __init__(self, images: TrainImages | EvalImages) -> None:
        self._images: Any = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: Any) -> Item | DataError:
        try:
            item: Item = self._images[key]
        except DataError as error:
            return error.with_traceback(None)
        return item


class _Collate:
    """Make a batch, or the first error of its items."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def __call__(self, items: Sequence[Item | DataError]) -> BatchItems | DataError:
        good: list[Item] = []
        for item in items:
            if isinstance(item, DataError):
                return item
            good.append(item)
        try:
            return collate(good, self._dataset)
        except DataError as error:
            return error.with_traceback(None)


def _batch_complaints(count: int, batch: int, rank: int, world: int) -> list[str]:
    found = []
    if batch < 1:
        found.append(f"a batch of {batch} images trains nothing; use 1 or more")
    if batch > count:
        found.append(
            f"a batch of {batch} is larger than the {count} training images; lower "
            "auto_scale_lr.base_batch_size, or take a recipe for small data"
        )
    if world < 1 or not 0 <= rank < world:
        found.append(f"process {rank} of {world}: it counts from 0 to {world - 1}")
    elif batch % world:
        found.append(
            f"a batch of {batch} cannot be shared by {world} processes; start a number "
            "of processes that divides it"
        )
    return found


def _number(*parts: object) -> int:
    """Return a seed of 32 bits for a combination of numbers and words."""
    text = " ".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
