"""Rebuild pickled NumPy arrays as tensors, and NumPy's scalars as numbers.

Source: numpy/numpy numpy/_core/src/multiarray/{methods,descriptor}.c, ``__reduce__`` of
arrays and of types: an array is made empty, and its state is (version, shape, type,
Fortran order, bytes); the state of a type is (version, byte order, ...).
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints.formats.placeholder import Placeholder, shown
from ssl_bench.errors import CheckpointError

_DTYPES = {
    "b1": torch.bool,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "u2": torch.uint16,
    "u4": torch.uint32,
    "u8": torch.uint64,
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "c8": torch.complex64,
    "c16": torch.complex128,
}
_RECORDS = tuple(f"numpy.{module}recarray" for module in ("", "rec.", "core.records."))
_KINDS = ("numpy.ndarray", "numpy.memmap", "numpy.matrix")
_FOREIGN_ORDER = ">" if sys.byteorder == "little" else "<"


class ArrayType(Placeholder):
    """Stand for numpy.dtype: its code, and its byte order once that is known."""

    __slots__ = ("order",)

    def __init__(self, *args: Any) -> None:
        super().__init__("numpy.dtype", args)
        self.order = ""

    def put(self, state: Any) -> None:
        """Take the byte order out of a state.

        Raises:
            CheckpointError: if it is none of a type.
        """
        self.state = state
        match state:
            case (3 | 4, "<" | ">" | "=" | "|" as order, _, _, _, _, _, _, *rest) if (
                len(rest) < 2
            ):
                self.order = order
            case _:
                raise CheckpointError("the type of an array in it is damaged")

    @property
    def dtype(self) -> torch.dtype | None:
        """The type of our tensors; None for text, objects and records."""
        code = self.args[0] if self.args else None
        return _DTYPES.get(code.lstrip("<>=|")) if isinstance(code, str) else None

    @property
    def swapped(self) -> bool:
        """Whether the bytes are in the other order than this machine's."""
        code = self.args[0] if self.args else ""
        return _FOREIGN_ORDER in (self.order, str(code)[:1])


class Array(Placeholder):
    """Stand for an array until its state is known.

    Attributes:
        tensor: what it has become; None for arrays of text, objects and records.
    """

    __slots__ = ("tensor",)

    def __init__(self, *args: Any) -> None:
        match args:
            case (Placeholder(args=None) as kind, (0,), b"b" | "b") if (
                kind.origin in _KINDS
            ):
                super().__init__("numpy.ndarray", args)
            case _:
                raise CheckpointError("an array in it is damaged")
        self.tensor: Tensor | None = None

    def put(self, state: Any) -> None:
        """Build the tensor.

        Raises:
            CheckpointError: if the state contradicts itself.
        """
        self.state = state
        match state:
            case (1, tuple() as shape, ArrayType() as kind, bool() as turned, content):
                if kind.dtype is not None:
                    order = "F" if turned else "C"
                    self.tensor = tensor(content, kind, shape, order)
            case _:
                raise CheckpointError("an array in it is damaged")


def tensor(content: Any, kind: ArrayType, shape: Any, order: Any = "C") -> Tensor:
    """Return bytes as a tensor of a shape.

    Args:
        content: bytes, or the text that Python 2 wrote for them.
        kind: with a known type.
        shape: sizes.
        order: ``C`` or ``F``.

    Raises:
        CheckpointError: if the bytes are more or less than the shape says.
    """
    dtype = kind.dtype
    if dtype is None:
        raise CheckpointError(f"it has an array of {shown(kind.args)}")
    if isinstance(content, str):
        content = content.encode("latin1")
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if not all(type(n) is int and 0 <= n < 2**48 for n in sizes) or len(sizes) > 64:
        raise CheckpointError("an array in it has an absurd shape")
    count = math.prod(sizes)
    if not isinstance(content, (bytes, memoryview)):
        raise CheckpointError("an array in it has no bytes")
    if len(content) != count * dtype.itemsize:
        raise CheckpointError(
            f"an array in it has {len(content)} bytes, expected "
            f"{count * dtype.itemsize}"
        )
    if not count:
        return torch.empty(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    if kind.swapped:
        width = dtype.itemsize // (2 if dtype.is_complex else 1)
        flat = flat.view(-1, width).flip(1).flatten()
    flat = flat.view(dtype)
    if order == "F":
        return flat.view(sizes[::-1]).permute(tuple(range(len(sizes)))[::-1])
    return flat.view(sizes)


def reconstruct(*args: Any) -> Placeholder:
    """Make an array without a state; one of records is never a tensor."""
    match args:
        case (Placeholder(args=None) as kind, *_) if kind.origin in _RECORDS:
            return Placeholder("numpy.recarray", args)
    return Array(*args)


def scalar(kind: Any, content: Any = None) -> Any:
    """Return the number that NumPy wrapped."""
    if not isinstance(kind, ArrayType) or kind.dtype is None:
        return Placeholder("numpy.scalar", (kind, content))
    return tensor(content, kind, (1,)).item()


def from_buffer(content: Any, kind: Any, shape: Any, order: Any = "C", *_: Any) -> Any:
    """Rebuild an array of pickle protocol 5."""
    if not isinstance(kind, ArrayType) or kind.dtype is None:
        return Placeholder("numpy.ndarray", (content, kind, shape, order))
    return tensor(content, kind, shape, order)


REBUILDERS = {
    f"numpy.{core}.{module}.{name}": function
    for core in ("core", "_core")
    for module, name, function in (
        ("multiarray", "_reconstruct", reconstruct),
        ("multiarray", "scalar", scalar),
        ("numeric", "_frombuffer", from_buffer),
    )
} | {"numpy.dtype": ArrayType}
"""What rebuilds each name; called with the arguments of the file."""
