"""Decode images in worker processes and hand them over batch by batch.

Letters: B images of a batch, 3 channels, H x W pixels.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_bench.data.image_list import ImageDataset
from ssl_bench.data.images import ImageError
from ssl_bench.errors import ConfigError, DataError, unknown

ON_BAD_IMAGE = ("error", "skip")

Transform = Callable[[Image.Image], Tensor]

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Hold the readable images of one batch.

    Attributes:
        images_BCHW: uint8; B is 0 when every image of the batch is bad.
        indices: B indices into the data set, in the order asked for.
        bad: (index, reason) of each image that was left out.
    """

    images_BCHW: Tensor
    indices: tuple[int, ...]
    bad: tuple[tuple[int, str], ...] = ()

    def pin_memory(self) -> Batch:
        """Return the same batch in page-locked memory; the DataLoader calls this."""
        return Batch(self.images_BCHW.pin_memory(), self.indices, self.bad)


def collate(
    items: Sequence[tuple[Tensor, Any, int]], dataset: ImageDataset | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Stack transformed items into one batch.

    Args:
        items: (uint8 pixels (3, H, W), target, index), all of one size.
        dataset: whose items they are, to name files in messages.

    Returns:
        (B, 3, H, W) uint8, targets (B,) int64 or (B, C) int8, and (B,) int64 indices.

    Raises:
        DataError: when two images differ in size, naming both.
    """
    images, targets, indices = zip(*items, strict=True)
    return (
        _stack(images, indices, dataset),
        torch.from_numpy(np.stack([np.asarray(target) for target in targets])),
        torch.tensor(indices, dtype=torch.int64),
    )


def loader(
    dataset: ImageDataset,
    transform: Transform,
    batch_indices: Sequence[Sequence[int]],
    workers: int = 0,
    on_bad_image: str = "error",
    pin_memory: bool = False,
) -> BatchLoader:
    """Read batches of fixed composition.

    Args:
        dataset: whose images are read.
        transform: from a PIL image to (3, H, W) uint8 pixels.
        batch_indices: the indices of each batch, in the order of the batches.
        workers: processes that decode; 0 decodes in this one.
        on_bad_image: ``error`` stops at the first unreadable image, ``skip`` leaves it
            out and lists it in the batch.
        pin_memory: page-lock the batches, which is of use only on their way to CUDA.

    Returns:
        An iterable over one `Batch` per item of ``batch_indices``.

    Raises:
        ConfigError: for an ``on_bad_image`` that is neither, or negative ``workers``.
    """
    if on_bad_image not in ON_BAD_IMAGE:
        raise ConfigError([unknown("way with bad images", on_bad_image, ON_BAD_IMAGE)])
    if workers < 0:
        raise ConfigError([f"workers is {workers}; use 0 or more"])
    return BatchLoader(
        dataset,
        transform,
        [list(indices) for indices in batch_indices],
        workers,
        on_bad_image == "skip",
        pin_memory,
    )


class BatchLoader:
    """Iterate over the batches that `loader` was asked for."""

    def __init__(
        self,
        dataset: ImageDataset,
        transform: Transform,
        batch_indices: list[list[int]],
        workers: int,
        skip: bool,
        pin: bool,
    ) -> None:
        self._skip = skip
        self._workers = workers
        self._dataset = dataset
        self._loader = DataLoader(
            _Decoded(dataset, transform),
            batch_sampler=batch_indices,
            num_workers=workers,
            collate_fn=_Gather(dataset),
            pin_memory=pin,
            worker_init_fn=start_worker,
            generator=torch.Generator(),  # or it would draw from the global one
        )
        self._length = len(batch_indices)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order.

        Raises:
            DataError: for an unreadable image unless they are skipped, for images of
                different size in one batch, and when a worker process was killed.
        """
        for batch in received(self._loader, self._workers):
            if batch.bad and not self._skip:
                index, reason = batch.bad[0]
                raise ImageError(_file(index, self._dataset), reason)
            yield batch


def received(batches: Iterable[T | DataError], workers: int) -> Iterator[T]:
    """Yield what a DataLoader gives, and raise the errors among it.

    An error that is raised in a worker arrives as text around a traceback; one that is
    handed over like a batch arrives as it is.

    Args:
        batches: a DataLoader of batches, or errors in place of them.
        workers: its processes, for the message.

    Raises:
        DataError: the first one of the batches, or when a worker process was killed.
    """
    source = iter(batches)
    while True:
        try:
            batch = next(source, None)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            raise DataError(
                f"one of the {workers} processes that read images was killed, most "
                "often for want of memory; use fewer --workers, or a smaller "
                "--batch-size"
            ) from error
        if batch is None:
            return
        if isinstance(batch, DataError):
            try:
                raise batch
            finally:
                # The error's traceback holds this frame. Were they a cycle, the workers
                # would be freed by the collector, which ends them late, by a time-out.
                del batch, source
        yield batch


class _Decoded(Dataset[tuple[Tensor | str, int]]):
    """Give the pixels of an image, or the reason why there are none."""

    def __init__(self, dataset: ImageDataset, transform: Transform) -> None:
        self._dataset = dataset
        self._transform = transform

    def __getitem__(self, index: int) -> tuple[Tensor | str, int]:
        try:
            return self._transform(self._dataset.image(index)), index
        except ImageError as error:
            return error.reason, index
        except DataError as error:
            return str(error), index


class _Gather:
    """Make a batch in the worker; errors travel as values, free of tracebacks."""

    def __init__(self, dataset: ImageDataset) -> None:
        self._dataset = dataset

    def __call__(self, items: Sequence[tuple[Tensor | str, int]]) -> Batch | DataError:
        bad = tuple((i, found) for found, i in items if isinstance(found, str))
        good = [(found, i) for found, i in items if isinstance(found, Tensor)]
        if not good:
            return Batch(torch.empty((0, 3, 1, 1), dtype=torch.uint8), (), bad)
        images, indices = zip(*good, strict=True)
        try:
            return Batch(_stack(images, indices, self._dataset), indices, bad)
        except DataError as error:
            return error


def _stack(
    images: Sequence[Tensor], indices: Sequence[int], dataset: ImageDataset | None
) -> Tensor:
    for image, index in zip(images, indices, strict=True):
        if image.shape != images[0].shape:
            (_, h1, w1), (_, h2, w2) = images[0].shape, image.shape
            raise DataError(
                f"images of one batch differ in size: {_file(indices[0], dataset)} is "
                f"{w1} x {h1} px and {_file(index, dataset)} is {w2} x {h2} px after "
                "the transform; use one that ends in a crop, such as 'imagenet' (short "
                "edge 256, crop 224) or 'upsample224'"
            )
    return torch.stack(tuple(images))


def _file(index: int, dataset: ImageDataset | None) -> str:
    if dataset is None:
        return f"image {index}"
    return str(dataset.root / dataset.samples[index])


def start_worker(worker: int) -> None:
    """Prepare a process that reads images; the DataLoader calls this in it."""
    # Ctrl-C reaches every process of the terminal; the main one ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
