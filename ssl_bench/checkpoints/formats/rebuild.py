"""Rebuild tensors and plain containers from what a pickle says of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints.formats.numpy_pickles import REBUILDERS
from ssl_bench.checkpoints.formats.pickle_machine import UNIT, Machine
from ssl_bench.checkpoints.formats.placeholder import Placeholder, shown
from ssl_bench.errors import CheckpointError

TENSOR = 8
"""Units of a tensor, beside its numbers."""
_AXES = 64
"""As many as torch computes with."""
_QUANTISED = frozenset(
    {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4}
)
"""Types that say nothing without a scale; such tensors are written another way."""


class Storage:
    """Hold a storage's numbers; a tensor is a view into it."""

    __slots__ = ("flat",)

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat

    def __repr__(self) -> str:
        return "<storage>"


def part(storage: Storage, view: Any) -> Storage:
    """Return the part of a storage that torch's first versions shared."""
    match view:
        case (str(), int() as offset, int() as count) if (
            offset >= 0 and 0 <= count <= storage.flat.numel() - offset
        ):
            return Storage(storage.flat[offset : offset + count])
    raise CheckpointError("a part of a storage reaches beyond it")


def _view(flat: Tensor, offset: Any, size: Any, stride: Any) -> Tensor:
    """Return a view into a storage after checking that it lies inside."""
    if type(size) is not tuple or type(stride) is not tuple:
        raise CheckpointError("a tensor has no size or no stride")
    numbers = (offset, *size, *stride)
    if not len(size) == len(stride) <= _AXES or not all(
        type(n) is int and 0 <= n < 2**63 for n in numbers
    ):
        raise CheckpointError("a tensor claims an absurd offset, size or stride")
    if 0 not in size:
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if last >= flat.numel():
            raise CheckpointError(
                f"a tensor of size {size} reaches beyond its storage of "
                f"{flat.numel()} elements"
            )
        if _overlaps(size, stride):
            raise CheckpointError(f"a tensor of size {size} overlaps itself")
    elif math.prod(n or 1 for n in size) >= 2**60:
        raise CheckpointError("a tensor claims an absurd offset, size or stride")
    elif offset > flat.numel():
        raise CheckpointError("an empty tensor lies beyond its storage")
    return torch.as_strided(flat, size, stride, offset)


def _overlaps(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Tell whether steps lead to one element twice, other than by repeating it."""
    reach = 0
    for step, count in sorted(zip(stride, size, strict=True)):
        if count > 1 and step:
            if step <= reach:
                return True
            reach += (count - 1) * step
    return False


def _tensor(
    machine: Machine, storage: Any, offset: Any, size: Any, stride: Any
) -> Tensor:
    machine.charge(TENSOR)
    if not isinstance(storage, Storage):
        raise CheckpointError(f"a tensor is built on {shown(storage)}, no storage")
    return _view(storage.flat, offset, size, stride)


def _tensor_v2(
    machine: Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> Tensor:
    _check_extras(requires_grad, hooks, metadata)
    made = _tensor(machine, storage, offset, size, stride)
    return _turned(made, metadata)


def _turned(tensor: Tensor, metadata: Any) -> Tensor:
    """Conjugate or negate a tensor whose storage holds the opposite."""
    if isinstance(metadata, dict):
        if metadata.get("conj") is True:
            tensor = tensor.conj()
        if metadata.get("neg") is True:
            tensor = torch._neg_view(tensor)
    return tensor


def _check_extras(requires_grad: Any, hooks: Any, metadata: Any) -> None:
    """Make sure that what we do not need is at least what it should be."""
    if (
        type(requires_grad) is not bool
        or not isinstance(hooks, (dict, type(None)))
        or not isinstance(metadata, (dict, type(None), Placeholder))
    ):
        raise CheckpointError("a tensor in it is damaged")


def _tensor_v3(
    machine: Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    """Rebuild a tensor whose storage is untyped; its type comes separately."""
    _check_extras(requires_grad, hooks, metadata)
    machine.charge(TENSOR)
    known = isinstance(dtype, torch.dtype) and dtype not in _QUANTISED
    if not isinstance(storage, Storage) or not known:
        raise CheckpointError(
            f"a tensor is built of {shown(storage)} and {shown(dtype)}"
        )
    if storage.flat.numel() * storage.flat.dtype.itemsize % dtype.itemsize:
        raise CheckpointError(f"a storage's bytes are not whole elements of {dtype}")
    return _turned(_view(storage.flat.view(dtype), offset, size, stride), metadata)


def _first(machine: Machine, data: Any, *_: Any) -> Any:
    """Rebuild a parameter, or a tensor of another device, as the tensor inside."""
    del machine
    return data


def _subclass(
    machine: Machine, function: Any, kind: Any, args: Any, state: Any = None
) -> Any:
    """Rebuild a subclass of Tensor as the plain tensor that it wraps."""
    del kind, state
    return machine.call(function, args)


def _encode(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    """Rebuild bytes from the text that old pickle protocols write them as."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("its pickle encodes bytes in an unknown way")
    machine.charge(len(text) // UNIT)
    return text.encode("latin1")


def _bytes(machine: Machine, content: Any = b"", encoding: Any = "latin1") -> bytes:
    if isinstance(content, str):
        return _encode(machine, content, encoding)
    machine.charge(len(content) // UNIT)
    return bytes(memoryview(content))


def _dict(machine: Machine, *args: Any) -> dict[Any, Any]:
    """Rebuild any dictionary; a default factory is never called."""
    content = next((arg for arg in args if isinstance(arg, (dict, list))), [])
    pairs = content.items() if isinstance(content, dict) else content
    machine.charge(4 * len(content))
    return {machine.key(key): value for key, value in pairs}


def _collection(
    kind: Callable[[Any], Any], *, hashed: bool
) -> Callable[..., list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]]:
    def rebuild(machine: Machine, items: Any = ()) -> Any:
        if not isinstance(items, (list, tuple, set, frozenset)):
            raise CheckpointError(f"a collection in it is made of {shown(items)}")
        machine.charge(2 * len(items))
        return kind(map(machine.key, items) if hashed else items)

    return rebuild


def _complex(machine: Machine, real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    del machine
    return complex(float(real), float(imaginary))


def _object(machine: Machine, kind: Any, *_: Any) -> Any:
    """Make an object as copyreg does, from its class."""
    return machine.call(kind, ())


def _new_object(machine: Machine, kind: Any, *args: Any) -> Any:
    return machine.call(kind, args)


def _traced(machine: Machine, body: Any, *_: Any) -> Placeholder:
    """Rebuild a network that torch.fx traced; its code is never looked at."""
    del machine
    return Placeholder("torch.fx.graph_module.GraphModule", (), body)


def _device(machine: Machine, *args: Any) -> str:
    del machine
    return ":".join(shown(arg) for arg in args)


def _nested_storage(machine: Machine, content: Any) -> Any:
    """Read the torch file that a tensor becomes in a plain pickle."""
    if not isinstance(content, (bytes, memoryview)):
        raise CheckpointError("a tensor in it has no bytes")
    return machine.nested(content)


def _array(function: Callable[..., Any]) -> Callable[..., Any]:
    def rebuild(machine: Machine, *args: Any) -> Any:
        machine.charge(2 * TENSOR)
        made = function(*args)
        if isinstance(made, Tensor):
            machine.copy(made.nbytes)
        return made

    return rebuild


def _builders() -> dict[str, Callable[..., Any]]:
    """Return what rebuilds each name; called with the machine and the arguments."""
    table: dict[str, Callable[..., Any]] = {
        "_codecs.encode": _encode,
        "torch.Size": _collection(tuple, hashed=False),
        "torch.device": _device,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor_v2,
        "torch._utils._rebuild_tensor_v3": _tensor_v3,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
        "torch._utils._rebuild_xla_tensor": _first,
        "torch._utils._rebuild_device_tensor_from_numpy": _first,
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
        "torch._tensor._rebuild_from_type_v2": _subclass,
        "torch._tensor._rebuild_from_type": _subclass,
        "torch.storage._load_from_bytes": _nested_storage,
        "torch.serialization._get_layout": _device,
        "torch.fx.graph_module.reduce_graph_module": _traced,
    }
    for name in ("OrderedDict", "defaultdict", "Counter"):
        table[f"collections.{name}"] = _dict
    for name in ("copyreg", "copy_reg"):
        table[f"{name}._reconstructor"] = _object
        table[f"{name}.__newobj__"] = _new_object
    for module in ("builtins", "__builtin__"):
        table[f"{module}.dict"] = _dict
        table[f"{module}.complex"] = _complex
        table[f"{module}.bytes"] = _bytes
        table[f"{module}.bytearray"] = _bytes
        for kind in (list, tuple, set, frozenset):
            hashed = kind in (set, frozenset)
            table[f"{module}.{kind.__name__}"] = _collection(kind, hashed=hashed)
    return table | {name: _array(function) for name, function in REBUILDERS.items()}


_KINDS = {
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
    "QInt8": torch.int8,
    "QUInt8": torch.uint8,
    "QInt32": torch.int32,
}
STORAGES = {
    f"{module}.{name}Storage": dtype
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, dtype in _KINDS.items()
}
CONSTANTS = {
    f"torch.{name}": dtype
    for name, dtype in vars(torch).items()
    if isinstance(dtype, torch.dtype)
}
BUILDERS = _builders()
