"""The load gate: a backbone is filled wholly from the file, or there is an error.

Every tensor of the architecture has to be there with its shape and finite numbers, and
nothing may be left over. Batch norm's counters alone may be absent. A convolution, a
linear layer or an embedding whose weight has one value throughout computes nothing, so
that it is refused like a missing one.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
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
    roles,
    skeleton,
)
from ssl_bench.checkpoints import command
from ssl_bench.checkpoints.layout import Encoder
from ssl_bench.errors import CheckpointError, nearest

_SHOWN = 10


class IncompleteError(CheckpointError):
    """Report tensors that are missing, or that have no place in the architecture."""


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
        IncompleteError: with the nearest names.
        CheckpointError: for another architecture, or numbers that cannot be right.
        UsageError: if ``arch`` is unknown.
    """
    spec = architecture(encoder, source, hidden, arch)
    places = skeleton(spec)
    needed = [name for name in places if not _is_counter(name)]
    filled = {
        name: tensor
        for name, tensor in encoder.tensors.items()
        if name in places and not _misfit(tensor, places[name])
    }
    missing = tuple(name for name in needed if name not in filled)
    unexpected = tuple(name for name in encoder.tensors if name not in places)
    coverage = Coverage(
        matched=len(needed) - len(missing),
        missing=missing,
        unexpected=(*unexpected, *encoder.unknown),
        dropped=encoder.dropped,
    )
    partial = bool(missing or encoder.unknown) or len(filled) < len(encoder.tensors)
    if partial and (not allow_partial or not coverage.matched):
        raise IncompleteError(_complaint(encoder, source, spec, places, coverage))
    constant, untrained = _look_at_values(filled, encoder, source, roles(spec))
    coverage = Coverage(
        coverage.matched,
        coverage.missing,
        coverage.unexpected,
        coverage.dropped,
        constant,
        untrained,
    )
    return Verified(spec, filled, coverage, partial)


def architecture(
    encoder: Encoder, source: str, hidden: Mapping[str, Any], arch: str | None
) -> ArchSpec:
    """Return what the shapes say, completed by what they cannot say.

    Raises:
        CheckpointError: if the weights are of no known architecture, or not of
            ``arch``.
        UsageError: if ``arch`` is unknown.
    """
    asked = None if arch is None else parse(arch)
    try:
        spec = infer(encoder.tensors)
    except CheckpointError as error:
        if asked is not None:
            return asked
        raise CheckpointError(
            f"{source}: {error}; if you know what it is, type: "
            f"{command.extract(source, arch='NAME')}"
        ) from error
    family = families()[spec.family]
    known = {name: value for name, value in hidden.items() if name in family.HIDDEN}
    if asked is not None and asked.family == spec.family:
        known = {name: asked.options[name] for name in family.HIDDEN}
    try:
        if known:
            spec = family.spec(**{**spec.options, **known})
        skeleton(spec)
    except (AssertionError, ArithmeticError, RuntimeError, TypeError, ValueError) as e:
        # Sizes that contradict one another, as a damaged buffer can claim them.
        raise CheckpointError(
            f"{source}: its tensors make no {spec.family} network that can be built; "
            "take another checkpoint"
        ) from e
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
        f"{encoder.origin(name)} has {problem}"
        for name, tensor in encoder.tensors.items()
        if name in places and (problem := _misfit(tensor, places[name]))
    ]
    surplus = [
        encoder.origin(name) if name in encoder.tensors else name
        for name in coverage.unexpected
    ]
    absent = [name for name in coverage.missing if name not in encoder.tensors]
    if absent:
        total = coverage.matched + len(coverage.missing)
        shown = [_with_nearest(name, surplus) for name in absent[:_SHOWN]]
        parts.append(
            _list(f"{len(absent)} of {total} tensors are missing", shown, absent)
        )
        close = nearest(absent[0], _keys(encoder), _SHOWN)
        if close:
            parts.append(f"the keys nearest to {absent[0]}: {', '.join(close)}")
    if misfits:
        parts.append(_list(f"{len(misfits)} do not fit", misfits[:_SHOWN], misfits))
    if surplus:
        shown = [_with_nearest(name, absent) for name in surplus[:_SHOWN]]
        parts.append(_list(f"{len(surplus)} keys have no place in it", shown, surplus))
    return f"{source} does not fill {spec.name}: {'; '.join(parts)}"


def _keys(encoder: Encoder) -> list[str]:
    """Return every key of the file, as it stands there."""
    taken = [key for keys in encoder.names.values() for key in keys]
    dropped = [key for keys in encoder.dropped.values() for key in keys]
    return [*taken, *encoder.unknown, *dropped]


def advice(source: str, elsewhere: Iterable[str], partly: str | None) -> str:
    """Return the lines to type after a refusal.

    Args:
        source: the file.
        elsewhere: prefixes of other networks in it.
        partly: the line that takes the file as it is, where that would help.
    """
    lines = [f"look at it with: ssl-bench inspect {shlex.quote(source)}"]
    lines += [
        f"take another network of it with: {command.extract(source, prefix=prefix)}"
        for prefix in list(elsewhere)[:3]
    ]
    if partly is not None:
        lines.append(f"or take it as it is, outside the tables: {partly}")
    return "; ".join(lines)


def _with_nearest(name: str, known: Any) -> str:
    near = nearest(name, known, 1)
    return f"{name} (nearest: {near[0]})" if near else name


def _list(what: str, shown: list[str], all_of_them: list[str]) -> str:
    more = len(all_of_them) - len(shown)
    return f"{what}: {', '.join(shown)}{f' and {more} more' if more else ''}"


def _look_at_values(
    tensors: Mapping[str, Tensor],
    encoder: Encoder,
    source: str,
    role_of: Mapping[str, str],
) -> tuple[dict[str, int], bool]:
    """Refuse NaN, infinity and constant weights; count what else is constant.

    Returns:
        How many tensors of a kind have one value throughout, and whether every
        normalisation does, which training never leaves behind.
    """
    constant: Counter[str] = Counter()
    norms: list[bool] = []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = extremes(tensor)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CheckpointError(
                f"{encoder.origin(name)} of {source} contains NaN or infinity; the "
                "training diverged or the file is damaged, take another checkpoint"
            )
        role = role_of.get(name)
        same = low == high
        if same and role == "weight" and tensor.numel() > 1:
            raise CheckpointError(
                f"{encoder.origin(name)} of {source} is {low + 0.0:g} throughout: such "
                "a layer computes nothing, so the file is damaged or was never filled; "
                "take another checkpoint"
            )
        if same:
            constant[role or name.rpartition(".")[2]] += 1
        if role == "norm":
            norms.append(same)
    return dict(constant), bool(norms) and all(norms)


def extremes(tensor: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value; NaN where there is one."""
    if tensor.dtype.itemsize == 1:
        tensor = tensor.float()
    low, high = torch.aminmax(tensor)
    return float(low), float(high)
