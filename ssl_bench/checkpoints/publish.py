"""Write a checkpoint for others: without the optimiser, its digest in the name.

Source: open-mmlab/mmselfsup tools/model_converters/publish_model.py. Nothing of the
file is executed on the way, and what is written needs nothing executed either: objects
of foreign classes become dictionaries of their plain attributes, or are left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints import reader
from ssl_bench.checkpoints.formats.placeholder import Placeholder, attributes, plain
from ssl_bench.checkpoints.inspection.foreign import clean
from ssl_bench.checkpoints.sorting import flatten, opened
from ssl_bench.errors import BenchError, CheckpointError
from ssl_bench.files import sync_dir, temporary_sibling

SUFFIX = ".pth"
DIGITS = 8
_PLAIN = (str, int, float, bool, type(None))
_OPTIMISER = "optimizer"
_DEPTH = 50


@dataclass
class Published:
    """Say what was written, and what was left out.

    Attributes:
        path: the file.
        dropped: names of what was left out, by dotted path.
    """

    path: Path
    dropped: list[str] = field(default_factory=list)


def publish(source: Path, out: Path) -> Published:
    """Write a copy of a checkpoint as ``OUT-xxxxxxxx.pth``.

    Args:
        source: the checkpoint.
        out: where to write, with or without ``.pth``; eight hex digits of the sha256
            of what is written go into the name.

    Raises:
        CheckpointError: if the file cannot be read or holds no tensors.
        BenchError: if the place cannot be written.
    """
    payload = reader.read(source, digest=False)
    if not flatten(payload.tree):
        raise CheckpointError(f"{source} holds no tensors; there is nothing to publish")
    tree = payload.tree
    if payload.metadata:
        tree = {"state_dict": tree, "meta": _metadata(payload.metadata)}
    dropped: list[str] = []
    tree = _plain(tree, "", dropped, _Kept())
    stem = out.name.removesuffix(SUFFIX)
    temporary = temporary_sibling(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            torch.save(tree, handle)
        sync_dir(temporary)
        with temporary.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        final = out.with_name(f"{stem}-{digest[:DIGITS]}{SUFFIX}")
        temporary.replace(final)
        sync_dir(final.parent)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as an error of its own.
        reason = getattr(error, "strerror", None) or error
        raise BenchError(
            f"cannot write {out}: {reason}; free space or permissions there, or choose "
            "another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return Published(final, dropped)


def _metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the text beside the tensors; our own provenance as it is in .pth files."""
    try:
        found = json.loads(metadata.get("provenance", ""))
    except ValueError:
        return dict(metadata)
    return found if isinstance(found, dict) else dict(metadata)


@dataclass
class _Kept:
    """Remember what was converted, so that what is shared is converted once.

    Attributes:
        found: by id, the value itself, which has to live on, and what it became.
        cloned: bytes that were taken out of a storage, by its address.
    """

    found: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    cloned: dict[int, int] = field(default_factory=dict)


def _plain(value: Any, path: str, dropped: list[str], kept: _Kept) -> Any:
    """Return a value of plain types, with everything else noted and left out."""
    if path.count(".") > _DEPTH:
        raise CheckpointError(f"{clean(path)} is nested too deeply to be published")
    if id(value) not in kept.found:
        kept.found[id(value)] = value, _converted(value, path, dropped, kept)
    return kept.found[id(value)][1]


def _converted(value: Any, path: str, dropped: list[str], kept: _Kept) -> Any:
    value = plain(opened(value))
    if isinstance(value, Tensor):
        return _own(value, kept.cloned)
    if isinstance(value, Placeholder):
        value = attributes(value)
    if isinstance(value, Mapping):
        return _items(value, path, dropped, kept)
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{path}.*", dropped, kept) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value if isinstance(value, _PLAIN) else str(clean(value))


def _items(
    value: Mapping[Any, Any], path: str, dropped: list[str], kept: _Kept
) -> dict[Any, Any]:
    found = {}
    for key, item in value.items():
        where = f"{path}.{clean(key)}" if path else clean(key)
        if not isinstance(key, _PLAIN) or _is_optimiser(key, item) or _is_empty(item):
            dropped.append(where)
        else:
            found[key] = _plain(item, where, dropped, kept)
    return found


def _is_optimiser(key: Any, value: Any) -> bool:
    """Tell by name or content whether this is the state of an optimiser."""
    if isinstance(key, str) and key.startswith(_OPTIMISER) and not _is_leaf(value):
        return True
    inner = attributes(value) if isinstance(value, Placeholder) else value
    return isinstance(inner, Mapping) and "param_groups" in inner and "state" in inner


def _is_leaf(value: Any) -> bool:
    """Tell whether this is one number or word, as in the name of an optimiser."""
    return isinstance(value, (*_PLAIN, Tensor))


def _is_empty(value: Any) -> bool:
    """Tell whether a placeholder has nothing plain to stand for it."""
    value = plain(opened(value))
    return isinstance(value, Placeholder) and not attributes(value)


def _own(tensor: Tensor, cloned: dict[int, int]) -> Tensor:
    """Return a tensor that does not drag a larger storage along.

    Views that together are larger than their storage stay views of it.
    """
    tensor = tensor.detach().cpu()
    storage = tensor.untyped_storage()
    taken = cloned.get(storage.data_ptr(), 0) + tensor.nbytes
    if tensor.nbytes == storage.nbytes() or taken > storage.nbytes():
        return tensor
    cloned[storage.data_ptr()] = taken
    return tensor.clone(memory_format=torch.contiguous_format)
