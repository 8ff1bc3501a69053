"""The images that a protocol sees: which splits, with which labels, brought to what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from ssl_bench import data
from ssl_bench.data import ImageDataset, transforms
from ssl_bench.errors import DataError
from ssl_bench.features import ROLES
from ssl_bench.protocols import protocols

Opened = dict[tuple[Any, ...], dict[str, ImageDataset]]
"""Splits by what `open_splits` was asked for."""

_shared: ContextVar[Opened | None] = ContextVar("shared", default=None)


@contextmanager
def sharing(opened: Opened) -> Iterator[None]:
    """Let all who open the same data inside get the same splits.

    The list of a million files is read once for all cells of a suite.

    Args:
        opened: what is open already; it is added to.
    """
    token = _shared.set(opened)
    try:
        yield
    finally:
        _shared.reset(token)


def open_splits(
    name: str, root: Path | None, limit: int | None, seed: int, *, several: bool = False
) -> dict[str, ImageDataset]:
    """Open both splits of a data set, checked against each other, then limited.

    Args:
        name: of the data set.
        root: where it is, or None for the usual places.
        limit: at most so many images a split, class-balanced.
        seed: of that draw.
        several: take several labels an image, where the data set has them.

    Returns:
        The bank under ``train``, the queries under ``test``, whatever the data set
        calls its splits.
    """
    asked = (name, root, limit, seed, several)
    opened = _shared.get()
    if opened is not None and asked in opened:
        return dict(opened[asked])
    kind = data.get_dataset(name, several=several)
    pair = [
        data.open_dataset(name, split, root, several=several) for split in kind.splits
    ]
    data.check_pair(*pair)
    if limit is not None:
        pair = [split.subset(limit, seed) for split in pair]
    found = dict(zip(ROLES, pair, strict=True))
    if opened is not None:
        opened[asked] = dict(found)
    return found


def takes_several(protocol: ModuleType) -> bool:
    """Say whether a protocol works on data with several labels an image."""
    return bool(getattr(protocol, "SEVERAL", False))


def check_labels(protocol: ModuleType, splits: Mapping[str, ImageDataset]) -> None:
    """Refuse several labels an image for a protocol that takes one.

    Raises:
        DataError: naming the protocols that fit.
    """
    if takes_several(protocol):
        return
    fitting = [name for name, module in protocols().items() if takes_several(module)]
    for split in splits.values():
        if split.targets.ndim > 1:
            raise DataError(
                f"{protocol.PROTOCOL} needs one class an image, but data set "
                f"{split.name} has several labels an image; run a protocol for such "
                f"data ({', '.join(fitting) or 'none is installed'}), or choose "
                "another data set"
            )


def asked_transform(protocol: ModuleType, settings: Any) -> str | None:
    """Return the named transform that a protocol's settings ask for, or None."""
    hook = getattr(protocol, "transform_name", None)
    name: str | None = None if hook is None else hook(settings)
    return name


def usual_transform(
    protocol: ModuleType, settings: Any, split: ImageDataset, size: int | None
) -> transforms.Spec:
    """Return what is done to an image where the config names no transform.

    Args:
        protocol: its settings may ask for a transform; else it is the data set's own.
        settings: of the protocol.
        split: any split of the data set.
        size: the pixels that the weights were made for; None for any.
    """
    name = asked_transform(protocol, settings) or split.transform_name
    return transforms.default_spec(name, size)


def transform_complaints(transform: Any) -> list[str]:
    """Return what is wrong with a transform for evaluation."""
    found = transforms.complaints(transform)
    if not found:
        found = [
            f"transform {name} draws at random; evaluation needs one that always does "
            "the same"
            for name in transforms.random_operations(transforms.resolve(transform))
        ]
    return found
