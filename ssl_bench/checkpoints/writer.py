"""Write extracted backbones, with their provenance inside."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_bench import __version__
from ssl_bench.backbones import BackboneWeights
from ssl_bench.checkpoints.extracted import FORMAT
from ssl_bench.errors import BenchError, UsageError
from ssl_bench.files import atomic_write

SUFFIXES = (".pth", ".safetensors")
_LENGTH = 8
"""Bytes of the length that a .safetensors file begins with, and its alignment."""


def provenance(weights: BackboneWeights) -> dict[str, Any]:
    """Return where weights come from, in plain types that JSON knows."""
    coverage = weights.coverage
    return {
        "format": FORMAT,
        "version": __version__,
        "source": weights.source,
        "sha256": weights.sha256,
        "layout": weights.layout,
        "encoder": weights.encoder,
        "producer": weights.producer,
        "arch": weights.arch,
        "mean": list(weights.input.mean),
        "std": list(weights.input.std),
        "size": weights.input.size,
        "coverage": {
            "matched": coverage.matched,
            "missing": len(coverage.missing),
            "unexpected": len(coverage.unexpected),
            "dropped": {rule: len(keys) for rule, keys in coverage.dropped.items()},
            "constant": dict(coverage.constant),
            "untrained": coverage.untrained,
        },
        "partial": weights.partial,
        "fingerprint": weights.fingerprint,
    }


def check_suffix(out: Path) -> None:
    """Make sure that the name says a format that we write.

    Raises:
        UsageError: if it does not.
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(
            f"{out} must end in {' or '.join(SUFFIXES)}: the ending says the format"
        )


def save(weights: BackboneWeights, out: Path) -> None:
    """Write weights and their provenance, whole or not at all.

    Args:
        weights: as `ssl_bench.checkpoints.load` returns them.
        out: ``.pth`` (torch's zip format: ``state_dict`` and ``meta``) or
            ``.safetensors`` (provenance as JSON in the metadata).

    Raises:
        UsageError: if the name ends otherwise.
        BenchError: if the place cannot be written.
    """
    write(weights.state_dict, provenance(weights), out)


def write(
    state_dict: Mapping[str, torch.Tensor], facts: Mapping[str, Any], out: Path
) -> None:
    """Write tensors of any names with facts about them; see `save`.

    Args:
        state_dict: tensors by name.
        facts: what goes with them, in plain types that JSON knows.
        out: ``.pth`` or ``.safetensors``.

    Raises:
        UsageError: if the name ends otherwise.
        BenchError: if the place cannot be written.
    """
    check_suffix(out)
    tensors = _own_storages(state_dict)
    with atomic_write(out) as temporary:
        try:
            if out.suffix == ".pth":
                _save_torch({"state_dict": tensors, "meta": dict(facts)}, temporary)
            else:
                _save_safetensors(tensors, facts, temporary)
        except RuntimeError as error:
            # torch reports a full disk as an error of its own.
            raise BenchError(
                f"cannot write {out}: {error}; free space there, or choose another "
                "place"
            ) from error


def _own_storages(
    state_dict: Mapping[str, torch.Tensor],
) -> OrderedDict[str, torch.Tensor]:
    """Return tensors each of which is all of a storage of its own.

    A view would drag the whole storage of its file along. What is such a tensor
    already stays where it is, mostly in a mapped file.
    """
    taken: set[int] = set()
    tensors = OrderedDict()
    for name, tensor in state_dict.items():
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.numel() * tensor.element_size()
        if not whole or not tensor.is_contiguous() or storage.data_ptr() in taken:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        taken.add(storage.data_ptr())
        tensors[name] = tensor
    return tensors


def _save_torch(content: dict[str, Any], path: Path) -> None:
    """Write torch's zip format; an open file keeps its name out of the bytes."""
    with path.open("wb") as handle:
        torch.save(content, handle)


def _save_safetensors(
    tensors: OrderedDict[str, torch.Tensor], facts: Mapping[str, Any], path: Path
) -> None:
    """Write through memory: safetensors' writer makes files that others cannot read."""
    from safetensors.torch import save as serialise

    metadata = {"format": "pt", "provenance": json.dumps(dict(facts), sort_keys=True)}
    content = serialise(dict(tensors), metadata)
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.loads(content[_LENGTH:end])
    # Its metadata come in random order; the same weights should give the same bytes.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    with path.open("wb") as handle:
        handle.write(len(text).to_bytes(_LENGTH, "little") + text)
        handle.write(memoryview(content)[end:])
