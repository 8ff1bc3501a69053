"""The load gate: a backbone is filled wholly from the file, or there is an error.

Every tensor of the architecture has to be there with its shape and finite numbers, and
nothing may be left over. Batch norm's counters alone may be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_bench.backbones import (
    COUNTER,
    ArchSpec,
    Coverage,
    families,
    infer,
    parse,
    skeleton,
)
from ssl_bench.checkpoints.layout import Encoder
from ssl_bench.errors import CheckpointError, nearest

_SHOWN = 5


@dataclass(frozen=True)
class Verified:
    """Hold tensors that passed the gate.

    Attributes:
        spec: the architecture.
        tensors: by our names, shapes as the architecture has them.
        coverage: what was filled, missing and dropped.
        partial: True if something is missing or left over, and that was allowed.
    """

    spec: ArchSpec
    tensors: Mapping[str, Tensor]
    coverage: Coverage
    partial: bool


def verify(
    encoder: Encoder,
    *,
    source: str,
    hidden: Mapping[str, Any],
    arch: str | None,
    allow_partial: bool,
) -> Verified:
    """Check an encoder of a file against its architecture.

    Args:
        encoder: tensors in our names.
        source: the file, for the error.
        hidden: options of the architecture that only the layout knows.
        arch: what the user says it is.
        allow_partial: whether missing and left-over tensors are accepted.

    Raises:
        CheckpointError: with the nearest names, and a line to type.
        UsageError: if ``arch`` is unknown.
    """
    spec = _architecture(encoder, source, hidden, arch)
    places = skeleton(spec)
    needed = [name for name in places if not _is_counter(name)]
    fits = {
        name: tensor
        for name, tensor in encoder.tensors.items()
        if name in places and not _misfit(tensor, places[name])
    }
    missing = tuple(name for name in needed if name not in fits)
    unexpected = tuple(name for name in encoder.tensors if name not in places)
    coverage = Coverage(
        matched=len(needed) - len(missing),
        missing=missing,
        unexpected=unexpected,
        dropped=encoder.dropped,
    )
    partial = bool(missing) or len(fits) < len(encoder.tensors)
    if partial and (not allow_partial or not coverage.matched):
        raise CheckpointError(_complaint(encoder, source, spec, places, coverage))
    _check_finite(fits, encoder, source)
    return Verified(spec, fits, coverage, partial)


def _architecture(
    encoder: Encoder, source: str, hidden: Mapping[str, Any], arch: str | None
) -> ArchSpec:
    """Return what the shapes say, completed by what they cannot say."""
    asked = None if arch is None else parse(arch)
    try:
        spec = infer(encoder.tensors)
    except CheckpointError as error:
        if asked is not None:
            return asked
        raise CheckpointError(
            f"{source}: {error}; if you know what it is, type: ssl-bench extract "
            f"{source} OUT.pth --arch NAME"
        ) from error
    family = families()[spec.family]
    known = {name: value for name, value in hidden.items() if name in family.HIDDEN}
    if asked is not None and asked.family == spec.family:
        known = {name: asked.options[name] for name in family.HIDDEN}
    if known:
        spec = family.spec(**{**spec.options, **known})
    if asked is not None and asked.name != spec.name:
        raise CheckpointError(
            f"{source} holds the weights of {spec.name}, not of {asked.name}; leave "
            f"--arch out, or pass --arch {spec.name}"
        )
    return spec


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def _misfit(tensor: Tensor, place: Tensor) -> str:
    """Return what keeps a tensor from its place, or nothing."""
    if tensor.shape != place.shape:
        return f"shape {tuple(tensor.shape)}, expected {tuple(place.shape)}"
    if tensor.is_floating_point() != place.is_floating_point() or tensor.is_complex():
        return f"type {tensor.dtype}, expected {place.dtype}"
    return ""


def _complaint(
    encoder: Encoder,
    source: str,
    spec: ArchSpec,
    places: Mapping[str, Tensor],
    coverage: Coverage,
) -> str:
    """Compose the sentence about what does not fit."""
    parts = []
    misfits = [
        f"{encoder.names[name]} has {problem}"
        for name, tensor in encoder.tensors.items()
        if name in places and (problem := _misfit(tensor, places[name]))
    ]
    absent = [name for name in coverage.missing if name not in encoder.tensors]
    if absent:
        total = coverage.matched + len(coverage.missing)
        shown = [_with_nearest(name, coverage.unexpected) for name in absent[:_SHOWN]]
        parts.append(
            _list(f"{len(absent)} of {total} tensors are missing", shown, absent)
        )
    if misfits:
        parts.append(_list(f"{len(misfits)} do not fit", misfits[:_SHOWN], misfits))
    if coverage.unexpected:
        surplus = [encoder.names[name] for name in coverage.unexpected]
        shown = [_with_nearest(name, absent) for name in surplus[:_SHOWN]]
        parts.append(_list(f"{len(surplus)} keys have no place in it", shown, surplus))
    return (
        f"{source} does not fill {spec.name}: {'; '.join(parts)}. Look at the file "
        f"(ssl-bench extract {source} --dry-run --allow-partial); take another network "
        "of it with --prefix PREFIX, or accept it as it is, outside the tables, with "
        "--allow-partial"
    )


def _with_nearest(name: str, known: Any) -> str:
    near = nearest(name, known, 1)
    return f"{name} (nearest: {near[0]})" if near else name


def _list(what: str, shown: list[str], all_of_them: list[str]) -> str:
    more = len(all_of_them) - len(shown)
    return f"{what}: {', '.join(shown)}{f' and {more} more' if more else ''}"


def _check_finite(tensors: Mapping[str, Tensor], encoder: Encoder, source: str) -> None:
    """Refuse NaN and infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{encoder.names[name]} of {source} contains NaN or infinity; the "
                "training diverged or the file is damaged, take another checkpoint"
            )
