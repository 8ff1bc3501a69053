"""Read a pickle without ever calling anything that it names.

Tensors are rebuilt by functions of this module, plain containers are plain containers,
and every other class or function becomes an inert placeholder that only remembers what
it was given. Names that serve to run programs are refused outright, so that a hostile
file is named as such.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ssl_bench.errors import CheckpointError

# fmt: off
REFUSED_MODULES = frozenset(
    {
        "_pickle", "_posixsubprocess", "_winapi", "asyncio", "bdb", "code", "codeop",
        "commands", "ctypes", "ftplib", "http", "imp", "importlib", "marshal",
        "multiprocessing", "nt", "os", "pdb", "pickle", "pip", "pkgutil", "posix",
        "profile", "pty", "pydoc", "requests", "runpy", "setuptools", "shelve",
        "shutil", "signal", "smtplib", "socket", "subprocess", "sys", "tempfile",
        "threading", "timeit", "urllib", "urllib2", "webbrowser",
    }
)
REFUSED_BUILTINS = frozenset(
    {
        "__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec",
        "execfile", "exit", "file", "getattr", "globals", "help", "input", "locals",
        "open", "quit", "reload", "setattr", "type", "vars",
    }
)
# fmt: on
_BUILTIN_MODULES = frozenset({"builtins", "__builtin__"})

StorageLoader = Callable[[str, torch.dtype, int], Tensor]
"""From (key, dtype, number of elements) to the storage as a flat tensor."""


class Placeholder:
    """Stand for an object whose class is not ours to call.

    Attributes:
        origin: dotted name of the class or function in the file.
        args: what it was called with.
        state: what it would have been restored from.
        items: what would have been put into it.
    """

    origin = ""
    args: tuple[Any, ...]
    state: Any
    items: list[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Placeholder:
        """Remember the arguments."""
        self = super().__new__(cls)
        self.args = args
        self.state = kwargs or None
        self.items = []
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Placeholder:
        """Remember a call of what a call returned, and do nothing."""
        return Placeholder(self, *args, **kwargs)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        """Remember an element."""
        self.items.append(value)

    def extend(self, values: Sequence[Any]) -> None:
        """Remember elements."""
        self.items.extend(values)

    def add(self, value: Any) -> None:
        """Remember a member of a set."""
        self.items.append(value)

    def __repr__(self) -> str:
        return f"<placeholder of {self.origin}>"


def load(content: bytes, storage: StorageLoader) -> Any:
    """Read a pickle of torch's zip format.

    Args:
        content: the pickle.
        storage: fetches the numbers behind a tensor.

    Returns:
        The object, with placeholders for every class that is no plain container.

    Raises:
        CheckpointError: if the pickle is damaged or names something refused.
    """
    try:
        return _Unpickler(content, storage).load()
    except CheckpointError:
        raise
    except Exception as error:
        # A damaged pickle can fail in nearly any way; none of them is ours.
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"its pickle is damaged ({reason})") from error


class _Storage:
    """Hold a storage's numbers; a tensor is a view into it."""

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat


class _Unpickler(pickle.Unpickler):
    """Resolve names against the tables below, never by importing."""

    def __init__(self, content: bytes, storage: StorageLoader) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", errors="replace")
        self._storage = storage
        self._seen: dict[tuple[str, torch.dtype], _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        head, *inner = *module.split("."), *name.split(".")[:-1]
        refused = head in REFUSED_MODULES or any(
            part in REFUSED_MODULES for part in inner if "." in name
        )
        if module in _BUILTIN_MODULES:
            refused = refused or name.split(".")[0] in REFUSED_BUILTINS
        if refused:
            raise CheckpointError(
                f"it asks to run {module}.{name}, which no checkpoint needs: the file "
                "is hostile or broken, and nothing of it was executed; get it from "
                "its publisher again"
            )
        return _placeholder(module, name)

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise CheckpointError(f"it refers to {pid!r}, which is no torch storage")
        _, kind, key, _, count = pid
        if not isinstance(kind, _StorageType) or not isinstance(key, str):
            raise CheckpointError(f"it refers to a storage of unknown type {kind!r}")
        if type(count) is not int or count < 0:
            raise CheckpointError(f"storage {key} claims {count!r} elements")
        place = key, kind.dtype
        if place not in self._seen:
            self._seen[place] = _Storage(self._storage(key, kind.dtype, count))
        return self._seen[place]


class _StorageType:
    """Stand for a storage class; only its element type matters."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


@functools.cache
def _placeholder(module: str, name: str) -> type[Placeholder]:
    return type(name, (Placeholder,), {"origin": f"{module}.{name}"})


def _view(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """Return a view into a storage after checking that it lies inside."""
    if not isinstance(storage, _Storage):
        raise CheckpointError(f"a tensor is built on {storage!r}, no storage")
    shape, steps = tuple(size), tuple(stride)
    numbers = (offset, *shape, *steps)
    if len(shape) != len(steps) or not all(
        type(n) is int and 0 <= n < 2**63 for n in numbers
    ):
        raise CheckpointError(
            f"a tensor claims offset {offset!r}, size {shape}, stride {steps}"
        )
    if 0 not in shape:
        last = offset + sum((n - 1) * s for n, s in zip(shape, steps, strict=True))
        if last >= storage.flat.numel():
            raise CheckpointError(
                f"a tensor of size {shape} reaches beyond its storage of "
                f"{storage.flat.numel()} elements"
            )
    elif offset > storage.flat.numel():
        raise CheckpointError("an empty tensor lies beyond its storage")
    return torch.as_strided(storage.flat, shape, steps, offset)


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *_: Any
) -> Tensor:
    return _view(storage, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> Tensor:
    """Rebuild a tensor whose storage is untyped; its type comes separately."""
    del requires_grad, hooks
    if not isinstance(storage, _Storage) or not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"a tensor is built of {storage!r} and {dtype!r}")
    if storage.flat.numel() % dtype.itemsize:
        raise CheckpointError(f"a storage's bytes are not whole elements of {dtype}")
    return _view(_Storage(storage.flat.view(dtype)), offset, size, stride)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_from_type(function: Any, kind: Any, args: Any, state: Any = None) -> Any:
    """Rebuild a subclass of Tensor as the plain tensor that it wraps."""
    del kind, state
    if function not in (_rebuild_tensor, _rebuild_tensor_v3, _rebuild_parameter):
        return Placeholder(function, args)
    return function(*args)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Rebuild bytes from the text that old pickle protocols write them as."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("its pickle encodes bytes in an unknown way")
    return text.encode("latin1")


def _bytearray(content: Any = b"", encoding: Any = "latin1") -> bytes:
    return content if isinstance(content, bytes) else _encode(content, encoding)


def _plain_dict(*args: Any) -> dict[Any, Any]:
    """Rebuild a Counter or a defaultdict; a default factory is never called."""
    return dict(args[0]) if args and isinstance(args[0], dict) else {}


def _text(*args: Any) -> str:
    return ":".join(str(arg) for arg in args)


def _known() -> dict[tuple[str, str], Any]:
    """Return everything that a pickle may name and get."""
    table: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("collections", "defaultdict"): _plain_dict,
        ("collections", "Counter"): _plain_dict,
        ("_codecs", "encode"): _encode,
        ("torch", "Size"): tuple,
        ("torch", "device"): _text,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
        ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
        ("torch._tensor", "_rebuild_from_type"): _rebuild_from_type,
    }
    containers: dict[str, Any] = {
        "dict": dict,
        "list": list,
        "tuple": tuple,
        "set": set,
    }
    containers |= {"frozenset": frozenset, "complex": complex, "bytearray": _bytearray}
    for module in _BUILTIN_MODULES:
        table |= {(module, name): kind for name, kind in containers.items()}
    for name, dtype in vars(torch).items():
        if isinstance(dtype, torch.dtype):
            table["torch", name] = dtype
    for name, dtype in _STORAGES.items():
        for module in ("torch", "torch.cuda", "torch.storage"):
            table[module, f"{name}Storage"] = _StorageType(dtype)
    return table


_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Untyped": torch.uint8,
}
_KNOWN = _known()
