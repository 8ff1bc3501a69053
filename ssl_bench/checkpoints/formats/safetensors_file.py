"""Read .safetensors files: a JSON header, and the numbers by memory map.

Source: huggingface/safetensors README.md, section Format: eight bytes with the length
of the header, the header, then the tensors without holes or overlap.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints.formats.mapped import Mapped
from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.errors import CheckpointError

_LENGTH = 8
_LONGEST = 8 << 20
_SIGNS = 500_000
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
} | {
    name: getattr(torch, ours)
    for name, ours in (
        ("F8_E4M3FNUZ", "float8_e4m3fnuz"),
        ("F8_E5M2FNUZ", "float8_e5m2fnuz"),
        ("F8_E8M0", "float8_e8m0fnu"),
    )
    if hasattr(torch, ours)
}


def load(file: Mapped) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a .safetensors file.

    Raises:
        CheckpointError: if it is cut off or damaged.
    """
    length = int.from_bytes(file.view[:_LENGTH], "little")
    begin = _LENGTH + length
    if length > _LONGEST or begin > file.size:
        raise _damaged(f"its header claims {length} bytes")
    header = parse_json(bytes(file.view[_LENGTH:begin]))
    if not isinstance(header, dict):
        raise _damaged("its header is no JSON object")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise _damaged("its metadata are no texts")
    spans = {name: _span(name, facts) for name, facts in header.items()}
    _check_spans(spans, file.size - begin)
    tensors = {}
    for name, (start, _) in spans.items():
        dtype, shape = _DTYPES[header[name]["dtype"]], header[name]["shape"]
        flat = file.tensor(begin + start, dtype, math.prod(shape))
        tensors[name] = flat.view(shape)
    return tensors, metadata


def parse_json(content: bytes) -> Any:
    """Parse foreign JSON in which no name may stand twice.

    Raises:
        CheckpointError: if it is damaged, or nested without end.
    """
    if sum(content.count(sign) for sign in (b"[", b"{", b",")) > _SIGNS:
        raise _damaged("its JSON has more parts than any checkpoint")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _damaged("its JSON cannot be read") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _damaged(reason: str) -> CheckpointError:
    return CheckpointError(
        f"it looks like a .safetensors file but is cut off or damaged ({reason}); "
        "copy or download it again"
    )


def _span(name: str, facts: Any) -> tuple[int, int]:
    """Return where a tensor begins and ends, after checking its size."""
    if not isinstance(facts, dict) or set(facts) != _FIELDS:
        raise _damaged(f"{shown(name)} is no tensor")
    kind, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise _damaged(f"{shown(name)} has the unknown type {shown(kind)}")
    for numbers in (shape, offsets):
        if (
            not isinstance(numbers, list)
            or len(numbers) > 64
            or not all(type(n) is int and 0 <= n < 2**60 for n in numbers)
        ):
            raise _damaged(f"{shown(name)} has an absurd shape or place")
    if len(offsets) != 2:
        raise _damaged(f"{shown(name)} has no place")
    if math.prod(size or 1 for size in shape) >= 2**60:
        raise _damaged(f"{shown(name)} has an absurd shape or place")
    begin, end = offsets
    if end - begin != math.prod(shape) * _DTYPES[kind].itemsize:
        raise _damaged(f"{shown(name)} has {end - begin} bytes for its shape")
    return begin, end


def _check_spans(spans: dict[str, tuple[int, int]], size: int) -> None:
    """Make sure that the tensors fill the rest of the file without hole or overlap."""
    place = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != place or end > size:
            raise _damaged(f"{shown(name)} does not lie where it should")
        place = end
    if place != size:
        raise _damaged(f"{size - place} bytes belong to no tensor")
