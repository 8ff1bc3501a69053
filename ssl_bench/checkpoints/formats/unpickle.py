"""Read a pickle without ever calling anything that it names.

Tensors are rebuilt by functions of this module, plain containers are plain containers,
and every other class or function becomes an inert placeholder that only remembers what
it was given. Names that serve to run programs are refused outright, so that a hostile
file is named as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints.formats import refused_names
from ssl_bench.checkpoints.formats.numpy_pickles import Array, ArrayType
from ssl_bench.checkpoints.formats.pickle_machine import (
    UNIT,
    Budget,
    Bytes,
    Machine,
)
from ssl_bench.checkpoints.formats.pickle_opcodes import OPERATIONS
from ssl_bench.checkpoints.formats.pickle_shape import check_shape
from ssl_bench.checkpoints.formats.placeholder import Placeholder, attributes, shown
from ssl_bench.checkpoints.formats.rebuild import (
    BUILDERS,
    CONSTANTS,
    STORAGES,
    TENSOR,
    Storage,
    part,
)
from ssl_bench.errors import CheckpointError

__all__ = ["Placeholder", "Storage", "StorageLoader", "attributes", "load", "load_from"]

StorageLoader = Callable[[str, torch.dtype, int], Tensor]
"""From (key, dtype, number of elements) to the storage as a flat tensor."""

NestedLoader = Callable[[Bytes, Budget], Any]
"""From a whole torch file inside a pickle to what it holds, within its budget."""

_DEVICE = re.compile(r"[a-z_]+(:\d+)?")
_NESTED = 200
"""Units of a torch file inside a pickle, beside what its own pickles take."""


def load(content: Bytes, storage: StorageLoader | None = None, size: int = 0) -> Any:
    """Read a pickle that is all of some bytes.

    Args:
        content: the pickle.
        storage: fetches the numbers behind a tensor.
        size: of the whole file.

    Returns:
        The object, with placeholders for every class that is no plain container.

    Raises:
        CheckpointError: if the pickle is damaged or names something refused.
    """
    tree, end = load_from(content, 0, storage, budget=Budget(size or len(content)))
    if end != len(content):
        raise CheckpointError(
            f"its pickle is damaged ({len(content) - end} bytes follow its end)"
        )
    return tree


def load_from(
    content: Bytes,
    start: int,
    storage: StorageLoader | None = None,
    *,
    nested: NestedLoader | None = None,
    budget: Budget,
) -> tuple[Any, int]:
    """Read a pickle that begins somewhere in some bytes.

    Args:
        content: where it lies.
        start: position of its first byte.
        storage: fetches the numbers behind a tensor.
        nested: reads the torch files that plain pickles keep their tensors in.
        budget: what it may take.

    Returns:
        The object, and the position behind it.

    Raises:
        CheckpointError: if the pickle is damaged or names something refused.
    """
    machine = _Unpickler(content, start, budget, storage, nested)
    try:
        tree = machine.run(OPERATIONS)
        machine.finish()
        return check_shape(tree), machine.position
    except CheckpointError:
        raise
    except (IndexError, KeyError) as error:
        reason = "it is cut off" if machine.position >= machine.end else "bad stack"
        raise CheckpointError(f"its pickle is damaged ({reason})") from error
    except Exception as error:
        # A damaged pickle can fail in nearly any way; none of them is ours.
        reason = shown(str(error).split("\n")[0]) or type(error).__name__
        raise CheckpointError(f"its pickle is damaged ({reason})") from error


def _is_place(location: Any) -> bool:
    """Tell whether this is a device of torch, such as cpu or cuda:0."""
    return isinstance(location, str) and bool(_DEVICE.fullmatch(location))


class _Unpickler(Machine):
    """Resolve names against the tables below, never by importing."""

    def __init__(
        self,
        content: Bytes,
        start: int,
        budget: Budget,
        storage: StorageLoader | None,
        nested: NestedLoader | None,
    ) -> None:
        super().__init__(content, start, budget)
        self._storage = storage
        self._nested = nested
        self._names: dict[str, Any] = {}
        self._storages: dict[tuple[str, torch.dtype], Storage] = {}
        self._unbound = ""

    def find(self, module: str, name: str) -> Any:
        origin = f"{module}.{name}"
        if origin not in self._names:
            self.charge(8 + len(origin.encode()) // UNIT)
            if origin in refused_names.GETATTR:
                self._unbound = origin
            elif refused_names.is_refused(origin):
                raise refused_names.refuse(origin)
            self._names[origin] = CONSTANTS.get(origin) or Placeholder(origin)
        return self._names[origin]

    def call(self, function: Any, args: Any, kwargs: Any = None) -> Any:
        if not isinstance(function, Placeholder) or type(args) is not tuple:
            raise ValueError("it calls what is no function")
        if function.args is not None:
            # What it gives, and what that gives in turn, has one name.
            origin = f"{function.origin.removesuffix('()')}()"
            return Placeholder(origin, args, kwargs or None)
        origin = function.origin
        if origin in refused_names.GETATTR:
            return self._bound_method(origin, args)
        if origin in BUILDERS and not kwargs:
            return BUILDERS[origin](self, *args)
        return Placeholder(origin, args, kwargs or None)

    def build(self, value: Any, state: Any) -> Any:
        if isinstance(value, Array):
            value.put(state)
            if value.tensor is None:
                return value
            self.copy(value.tensor.nbytes)
            return value.tensor
        if isinstance(value, ArrayType):
            value.put(state)
        elif isinstance(value, Placeholder) and value.args is not None:
            value.state = state
        return value

    def fetch(self, reference: Any) -> Any:
        match reference:
            case ("module", Placeholder(args=None) as kind, _, _):
                return kind  # a class with its source, as torch's old files have it
        if (
            type(reference) is not tuple
            or len(reference) not in (5, 6)
            or reference[0] != "storage"
            or self._storage is None
        ):
            raise CheckpointError(
                f"it refers to {shown(reference)}, which is no torch storage"
            )
        kind, key, location, count, *view = reference[1:]
        dtype = STORAGES.get(kind.origin) if isinstance(kind, Placeholder) else None
        if dtype is None or not isinstance(key, str) or not _is_place(location):
            raise CheckpointError(
                f"it refers to a storage of unknown type {shown(kind)}"
            )
        if type(count) is not int or not 0 <= count < 2**60:
            raise CheckpointError(
                f"storage {shown(key)} claims {shown(count)} elements"
            )
        place = key, dtype
        if place not in self._storages:
            self.charge(TENSOR)
            self._storages[place] = Storage(self._storage(key, dtype, count))
        found = self._storages[place]
        if found.flat.numel() != count:
            raise CheckpointError(f"storage {shown(key)} has two sizes")
        if not view or view[0] is None:
            return found
        self.charge(TENSOR)
        return part(found, view[0])

    def resolve(self, value: Any) -> Any:
        if type(value) is Array and value.tensor is not None:
            return value.tensor
        return value

    def finish(self) -> None:
        """Refuse a pickle that names getattr for anything but what mmengine does."""
        if self._unbound:
            raise refused_names.refuse(self._unbound)

    def nested(self, content: Any) -> Any:
        """Read a torch file that lies in the pickle as bytes."""
        if self._nested is None:
            raise CheckpointError("its pickle has torch files inside torch files")
        self.charge(_NESTED)
        self.copy(len(content))
        return self._nested(content, self.budget)

    def _bound_method(self, origin: str, args: tuple[Any, ...]) -> Any:
        """Return a method of mmengine's history buffer as an inert name."""
        match args:
            case (Placeholder(origin=refused_names.BOUND, args=None), str() as name):
                if name.isidentifier() and not name.startswith("_"):
                    self._unbound = ""
                    return Placeholder(f"{refused_names.BOUND}.{name}")
        raise refused_names.refuse(origin)
