"""Find the one layout of a file, or say what would help.

Exactly one layout has to fit. ``--format`` names it, ``--prefix`` takes the keys below
a prefix as if they were the whole file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import extracted, mmselfsup_vit, resnet_flat, timm_vit
from ssl_bench.checkpoints.layout import Encoder, Reading, flatten
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.unpickle import Placeholder
from ssl_bench.errors import CheckpointError, UsageError, nearest, unknown

_SHOWN = 5


@functools.cache
def layouts() -> dict[str, ModuleType]:
    """Return the layouts by name."""
    from ssl_bench.registry import discover

    return discover("ssl_bench.checkpoints", "LAYOUT")


def candidates(payload: Payload) -> dict[str, Reading]:
    """Return the reading of every layout that fits.

    A file of our own says so itself, and no other layout is asked then.

    Raises:
        CheckpointError: if a layout fits and finds the file contradicting itself.
    """
    if extracted.provenance(payload) is not None:
        asked = {extracted.LAYOUT: layouts()[extracted.LAYOUT]}
    else:
        asked = layouts()
    found = {name: module.read(payload) for name, module in asked.items()}
    return {name: reading for name, reading in found.items() if reading is not None}


def match(
    payload: Payload, *, layout: str | None = None, prefix: str | None = None
) -> tuple[str, Reading]:
    """Return the layout of a file and its reading.

    Args:
        payload: the file.
        layout: the only layout to try.
        prefix: takes the keys below it, from anywhere in the file.

    Raises:
        UsageError: if the layout is unknown.
        CheckpointError: if not exactly one layout fits.
    """
    if layout is not None and layout not in layouts():
        raise UsageError(unknown("layout", layout, layouts()))
    outside: tuple[str, ...] = ()
    if prefix:
        payload, outside = below(payload, prefix)
    if layout is None:
        found = candidates(payload)
    else:
        reading: Reading | None = layouts()[layout].read(payload)
        found = {} if reading is None else {layout: reading}
    if len(found) > 1:
        names = sorted(found)
        raise CheckpointError(
            f"{payload.path} fits {len(names)} layouts, {' and '.join(names)}; name "
            f"one: {_line(payload)} --format {names[0]}"
        )
    if not found:
        raise CheckpointError(_no_layout(payload, layout))
    name, reading = next(iter(found.items()))
    return name, _with_outside(reading, prefix, outside)


def below(payload: Payload, prefix: str) -> tuple[Payload, tuple[str, ...]]:
    """Take the keys below a prefix, from the whole file or from one container.

    Args:
        payload: the file.
        prefix: with or without its last dot.

    Returns:
        A file of only these keys, and the paths of the tensors left out.

    Raises:
        CheckpointError: if nothing begins with it, or keys of several containers do.
    """
    prefix = prefix if prefix.endswith(".") else f"{prefix}."
    everything = flatten(payload.tree)
    starts = {
        path[: len(path) - len(rest)]
        for path in everything
        for rest in _rests(path, prefix, payload.tree)
    }
    if not starts:
        keys = _first_parts(everything)
        near = nearest(prefix, keys)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise CheckpointError(
            f"no key of {payload.path} begins with {prefix!r}.{hint} Its keys begin "
            f"with {', '.join(keys[:_SHOWN]) or 'nothing'}"
        )
    if len(starts) > 1:
        raise CheckpointError(
            f"{prefix!r} is found in {len(starts)} places of {payload.path}; say "
            f"which: --prefix {' or --prefix '.join(sorted(starts))}"
        )
    start = starts.pop()
    taken = {p[len(start) :]: t for p, t in everything.items() if p.startswith(start)}
    rest = tuple(path for path in everything if not path.startswith(start))
    return replace(payload, tree=taken, metadata={}), rest


def _rests(path: str, prefix: str, tree: Any) -> list[str]:
    """Return what is left of a path after the prefix: at the top, or in a container."""
    if path.startswith(prefix):
        return [path[len(prefix) :]]
    node = tree
    rest = path
    while isinstance(node, Mapping):
        part = next((key for key in node if rest.startswith(f"{key}.")), None)
        if part is None or not isinstance(node[part], Mapping):
            return []
        node, rest = node[part], rest[len(str(part)) + 1 :]
        if rest.startswith(prefix):
            return [rest[len(prefix) :]]
    return []


def _with_outside(
    reading: Reading, prefix: str | None, outside: tuple[str, ...]
) -> Reading:
    """Write down what a prefix left out."""
    if not outside:
        return reading
    rule = f"outside --prefix {prefix}"
    encoders = {
        name: Encoder(old.tensors, old.names, {**old.dropped, rule: outside})
        for name, old in reading.encoders.items()
    }
    return replace(reading, encoders=encoders)


def _no_layout(payload: Payload, layout: str | None) -> str:
    """Compose the sentence for a file that nobody knows."""
    if isinstance(payload.tree, Placeholder):
        return (
            f"{payload.path} holds a whole pickled {payload.tree.origin}, not a "
            "state dict; where you trust it, save model.state_dict() instead"
        )
    tensors = flatten(payload.tree)
    if not tensors:
        top = list(payload.tree) if isinstance(payload.tree, Mapping) else []
        return (
            f"{payload.path} holds no tensors"
            + (f", only {', '.join(map(str, top[:_SHOWN]))}" if top else "")
            + "; expected a checkpoint with a state dict"
        )
    what = f"has not the layout {layout}" if layout else "has no known layout"
    first = ", ".join(list(tensors)[:_SHOWN])
    return (
        f"{payload.path} {what}. Its first keys: {first}.{_hint(payload, tensors)} "
        f"Known layouts: {', '.join(layouts())}"
    )


def _hint(payload: Payload, tensors: Mapping[str, Tensor]) -> str:
    """Return the line to type where a network lies below some prefix."""
    places: dict[str, str] = {}
    for module in (resnet_flat, timm_vit, mmselfsup_vit):
        first, second = module.SIGNATURE
        for path in tensors:
            start = path.removesuffix(first)
            if start != path and f"{start}{second}" in tensors:
                places.setdefault(start, module.LAYOUT)
    if places:
        start, layout = next(iter(places.items()))
        found = ", ".join(f"{s or 'the top'} ({name})" for s, name in places.items())
        option = f"--prefix {start}" if start else f"--format {layout}"
        return f" A network lies below {found}; type: {_line(payload)} {option}"
    expected = ("conv1.weight", "patch_embed.proj.weight", "layer1.0.conv1.weight")
    for name in expected:
        near = nearest(name, tensors, 1)
        if near:
            return (
                f" Expected {name}, nearest is {near[0]}; if a prefix hides the "
                f"network, type: {_line(payload)} --prefix PREFIX"
            )
    return f" If a prefix hides the network, type: {_line(payload)} --prefix PREFIX"


def _line(payload: Payload) -> str:
    return f"ssl-bench extract {payload.path} OUT.pth"


def _first_parts(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the different beginnings of the keys, in their order."""
    return list(dict.fromkeys(f"{path.split('.')[0]}." for path in tensors))
