"""Read the files that torch.save wrote before version 1.6, and still writes on request.

They are four pickles (a magic number, a version, facts about the machine, the object),
a pickled list of storage names, and the storages in that order, each behind its number
of elements.

Source: pytorch/pytorch torch/serialization.py, ``_legacy_save`` and ``_legacy_load``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints.formats import unpickle
from ssl_bench.checkpoints.formats.mapped import Mapped
from ssl_bench.checkpoints.formats.pickle_machine import Budget, Bytes
from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.checkpoints.formats.unpickle import StorageLoader
from ssl_bench.errors import CheckpointError

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The magic number as a pickle writes it."""

_NUMBER = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_COUNT = 8
_DAMAGED = "it is in torch's old format and is cut off or damaged"


def load(file: Mapped, budget: Budget | None = None) -> Any:
    """Return the object that a file of torch's old format holds.

    Args:
        file: the file.
        budget: what its pickles may take; by default what their size allows, each.

    Raises:
        CheckpointError: if it is damaged or names something refused.
    """

    def unpickled(begin: int, storage: StorageLoader | None = None) -> tuple[Any, int]:
        allowed = budget or Budget(file.size)
        return unpickle.load_from(file.view, begin, storage, budget=allowed)

    begin = _check_head(unpickled)
    wanted: dict[str, tuple[torch.dtype, int]] = {}

    def note(key: str, dtype: torch.dtype, count: int) -> Tensor:
        known, size = wanted.setdefault(key, (dtype, count))
        if known.itemsize * size != dtype.itemsize * count:
            raise CheckpointError(f"{_DAMAGED} (storage {shown(key)} has two sizes)")
        return torch.empty(count, dtype=dtype, device="meta")

    # The storages are found behind the object that asks for them: it is read twice.
    _, end = unpickled(begin, note)
    keys, end = unpickled(end)
    places = _places(file, keys, end, wanted)

    def fetch(key: str, dtype: torch.dtype, count: int) -> Tensor:
        return file.tensor(places[key], dtype, count)

    return unpickled(begin, fetch)[0]


def load_nested(content: Bytes, budget: Budget) -> Any:
    """Return what a torch file holds that lies in a pickle as bytes."""
    if MAGIC not in bytes(content[:32]):
        raise CheckpointError("a tensor in its pickle is of no known format")
    if isinstance(content, bytes) or content.readonly:
        content = memoryview(bytearray(content))
    return load(Mapped(content), budget)


def _check_head(unpickled: Callable[[int], tuple[Any, int]]) -> int:
    """Return where the object begins."""
    facts: list[Any] = []
    place = 0
    for _ in range(3):
        fact, place = unpickled(place)
        facts.append(fact)
    number, version, machine = facts
    if number != _NUMBER or version != _VERSION or not isinstance(machine, dict):
        raise CheckpointError(f"{_DAMAGED} (its head is not torch's)")
    if machine.get("little_endian") is not (sys.byteorder == "little"):
        raise CheckpointError(
            f"its numbers are not {sys.byteorder}-endian as this machine's are; save "
            "it again on such a machine"
        )
    return place


def _places(
    file: Mapped, keys: Any, place: int, wanted: dict[str, tuple[torch.dtype, int]]
) -> dict[str, int]:
    """Return where the numbers of every storage begin."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError(f"{_DAMAGED} (no list of its storages)")
    if len(set(keys)) != len(keys) or set(keys) != set(wanted):
        raise CheckpointError(f"{_DAMAGED} (its list of storages is not what it uses)")
    places: dict[str, int] = {}
    for key in keys:
        dtype, count = wanted[key]
        there = int.from_bytes(file.view[place : place + _COUNT], "little")
        places[key] = place + _COUNT
        place += _COUNT + count * dtype.itemsize
        if place > file.size:
            raise CheckpointError(f"{_DAMAGED}; copy or download it again")
        if there != count:
            raise CheckpointError(
                f"{_DAMAGED} (storage {shown(key)} has {there} elements, expected "
                f"{count})"
            )
    if place != file.size:
        raise CheckpointError(
            f"{_DAMAGED} ({file.size - place} bytes follow its last storage)"
        )
    return places
