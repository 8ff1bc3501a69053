"""Loaders of training and evaluation: batches of fixed composition, shared by all."""

from __future__ import annotations

from collections.abc import Iterator

from ssl_bench.training.images import (
    EvalImages,
    EvalSampler,
    GlobalBatchSampler,
    ImageLoader,
    Key,
    TrainImages,
    make_loader,
)


class Parts:
    """Give the batches of one process, each in as many parts as are accumulated.

    Whatever the number of processes and parts, the images of one step are the same.

    Args:
        count: images of the data set.
        batch: of one step, over all processes.
        parts: of a process's share.
        seed: of the order.
        rank: of this process.
        world: processes.
    """

    def __init__(
        self, count: int, batch: int, parts: int, *, seed: int, rank: int, world: int
    ) -> None:
        self.parts = parts
        self.first = 0
        self._samplers = [
            GlobalBatchSampler(
                count, batch, seed=seed, rank=rank * parts + part, world=world * parts
            )
            for part in range(parts)
        ]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given next."""
        for sampler in self._samplers:
            sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return self.parts * len(self._samplers[0])

    def __iter__(self) -> Iterator[list[Key]]:
        step, skipped = divmod(self.first, self.parts)
        for sampler in self._samplers:
            sampler.first = step
        try:
            number = 0
            for lists in zip(*self._samplers, strict=True):
                for part in lists:
                    if number >= skipped:
                        yield part
                    number += 1
        finally:
            for sampler in self._samplers:
                sampler.first = 0


def train_loader(
    images: TrainImages,
    *,
    batch: int,
    accumulate: int,
    seed: int,
    rank: int,
    world: int,
    workers: int,
    pin_memory: bool,
) -> ImageLoader:
    """Return batches (uint8 pixels, targets, indices) to train on.

    Args:
        images: augmented by epoch and index.
        batch: images of one step, over all processes.
        accumulate: parts that a process takes its share in.
        seed: of the order.
        rank: of this process.
        world: processes.
        workers: processes that decode.
        pin_memory: page-lock the batches.
    """
    sampler = Parts(len(images), batch, accumulate, seed=seed, rank=rank, world=world)
    return make_loader(
        images, batch_sampler=sampler, workers=workers, pin_memory=pin_memory
    )


def eval_loader(
    images: EvalImages,
    *,
    batch: int,
    rank: int,
    world: int,
    workers: int,
    pin_memory: bool,
) -> ImageLoader:
    """Return batches of this process's share of the test images, each image once."""
    return make_loader(
        images,
        sampler=EvalSampler(len(images), rank=rank, world=world),
        batch_size=batch,
        workers=workers,
        pin_memory=pin_memory,
    )
