"""Find the one layout of a file, or say what would help.

A layout matches when it explains every key of the file. Exactly one has to match.
``--format`` names it, ``--prefix`` takes the keys below a prefix as if they were the
whole file; a file that no layout knows is searched for a network by structure alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import command, extracted, recipe, structure
from ssl_bench.checkpoints.catalogue import layouts, producer_of
from ssl_bench.checkpoints.layout import WRAPPERS, Encoder, Producer, Reading
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import flatten, opened
from ssl_bench.errors import CheckpointError, UsageError, nearest, unknown

_SHOWN = 5


@dataclass(frozen=True)
class Match:
    """Hold the layout of a file.

    Attributes:
        layout: its name.
        reading: what it found.
        producer: who is taken to have written the file.
    """

    layout: str
    reading: Reading
    producer: Producer


def candidates(payload: Payload) -> dict[str, Reading]:
    """Return the reading of every layout that has a claim to the file.

    A file of our own says so itself, and no other layout is asked then. Structure alone
    is asked where no layout knows the file.

    Raises:
        CheckpointError: if a layout fits and finds the file contradicting itself.
    """
    if extracted.provenance(payload) is not None:
        asked = [extracted.LAYOUT]
    else:
        asked = [name for name in layouts() if name != structure.LAYOUT]
    found = {name: recipe.read(layouts()[name], payload) for name in asked}
    known = {name: reading for name, reading in found.items() if reading is not None}
    if not known:
        reading = structure.read(payload)
        known = {} if reading is None else {structure.LAYOUT: reading}
    return known


def explaining(found: Mapping[str, Reading]) -> dict[str, Reading]:
    """Return the readings that explain every key; else those that explain most."""
    if not found:
        return {}
    fewest = min(len(reading.unexplained) for reading in found.values())
    return {n: r for n, r in found.items() if len(r.unexplained) == fewest}


def match(
    payload: Payload,
    *,
    layout: str | None = None,
    prefix: str | None = None,
    producer: str | None = None,
) -> Match:
    """Return the layout of a file and its reading.

    Args:
        payload: the file.
        layout: the only layout to try.
        prefix: takes the keys below it, from anywhere in the file.
        producer: which of the layout's producers wrote the file.

    Raises:
        UsageError: if the layout or the producer is unknown.
        CheckpointError: if not exactly one layout fits.
    """
    if layout is not None and layout not in layouts():
        raise UsageError(unknown("layout", layout, layouts()))
    outside: tuple[str, ...] = ()
    typed = prefix or None
    if prefix:
        payload, outside = below(payload, prefix)
    if layout is None:
        found = explaining(candidates(payload))
    else:
        reading = recipe.read(layouts()[layout], payload)
        found = {} if reading is None else {layout: reading}
    if len(found) > 1:
        names = sorted(found)
        raise CheckpointError(
            f"{payload.path} fits {len(names)} layouts, {' and '.join(names)}; name "
            f"one: {command.extract(payload.path, prefix=typed, format=names[0])}"
        )
    if not found:
        raise CheckpointError(_no_layout(payload, layout, typed))
    name, reading = next(iter(found.items()))
    if reading.provenance and producer is not None:
        _check_known(reading.provenance, producer, payload.path)
        producer = None
    asked = reading.producer if producer is None else producer
    chosen = producer_of(layouts()[name], asked)
    return Match(name, _with_outside(reading, prefix, outside), chosen)


def _check_known(origin: Mapping[str, Any], producer: str, path: str) -> None:
    """Make sure that the user's word about an extracted file is what stands in it.

    Raises:
        UsageError: if it is not.
    """
    known = origin.get("producer")
    if producer != known:
        raise UsageError(
            f"{path} was extracted as written by {known}, not by {producer}; extract "
            f"{origin['source']} again with --cfg-options producer={producer}"
        )


def below(payload: Payload, prefix: str) -> tuple[Payload, tuple[str, ...]]:
    """Take the keys below a prefix, from the whole file or from one container.

    Args:
        payload: the file.
        prefix: with or without its last dot, and without wrappers that stand before.

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
        raise CheckpointError(_no_key(payload, prefix, everything))
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
    node = opened(tree)
    rest = path
    while True:
        bare = _behind_wrappers(rest, prefix)
        if bare is not None:
            return [bare]
        if not isinstance(node, Mapping):
            return []
        part = next((key for key in node if rest.startswith(f"{key}.")), None)
        if part is None:
            return []
        node, rest = opened(node[part]), rest[len(str(part)) + 1 :]


def _behind_wrappers(path: str, prefix: str) -> str | None:
    """Return what is left after the prefix, which wrappers may stand before."""
    while not path.startswith(prefix):
        wrapper = next((word for word in WRAPPERS if path.startswith(word)), None)
        if wrapper is None:
            return None
        path = path[len(wrapper) :]
    return path[len(prefix) :]


def _no_key(payload: Payload, prefix: str, everything: Mapping[str, Tensor]) -> str:
    """Compose the sentence for a prefix that is nowhere."""
    networks = [start for start in structure.places(everything) if start]
    starts = [
        start
        for start in dict.fromkeys(s for path in everything for s in _starts(path))
        if not any(start != n and start.startswith(n) for n in networks)
    ]
    near = [start for start in starts if start.endswith(f".{prefix}")]
    # A container in front is part of the path and none of what people type.
    tails = {start.partition(".")[2] or start: start for start in reversed(starts)}
    near = near or [tails[tail] for tail in nearest(prefix, tails)]
    if near:
        hint = f" Did you mean {' or '.join(near[:_SHOWN])}?"
    elif networks:
        hint = f" Networks lie below {', '.join(networks[:_SHOWN])}"
    else:
        keys = list(dict.fromkeys(next(iter(_starts(p)), p) for p in everything))
        hint = f" Its keys begin with {', '.join(keys[:_SHOWN]) or 'nothing'}"
    return f"no key of {payload.path} begins with {prefix!r}.{hint}"


def _starts(path: str) -> list[str]:
    """Return every beginning of a path that ends in a dot, the shortest first."""
    return [path[: at + 1] for at, sign in enumerate(path) if sign == "."]


def _with_outside(
    reading: Reading, prefix: str | None, outside: tuple[str, ...]
) -> Reading:
    """Write down what a prefix left out."""
    if not outside:
        return reading
    rule = f"outside --prefix {prefix}"
    encoders: dict[str, Encoder] = {
        name: replace(old, dropped={**old.dropped, rule: outside})
        for name, old in reading.encoders.items()
    }
    return replace(reading, encoders=encoders)


def _no_layout(payload: Payload, layout: str | None, prefix: str | None) -> str:
    """Compose the sentence for a file that nobody knows."""
    tensors = flatten(payload.tree)
    if not tensors:
        top = list(payload.tree) if isinstance(payload.tree, Mapping) else []
        return (
            f"{payload.path} holds no tensors"
            + (f", only {', '.join(map(str, top[:_SHOWN]))}" if top else "")
            + "; expected a checkpoint with a state dict"
        )
    what = f"has not the layout {layout}" if layout else "has no known layout"
    fitting = sorted(explaining(candidates(payload))) if layout else []
    if fitting:
        said = command.extract(payload.path, prefix=prefix, format=fitting[0])
        return f"{payload.path} {what}, it has {' or '.join(fitting)}; type: {said}"
    first = ", ".join(list(tensors)[:_SHOWN])
    said = f"{payload.path} {what}. Its first keys: {first}."
    places = structure.places(tensors)
    if not places:
        return f"{said} Known layouts: {', '.join(layouts())}.{_hint(payload, tensors)}"
    found = ", ".join(f"{s or 'the top'} ({n.name})" for s, n in places.items())
    lines = [
        command.extract(payload.path, prefix=start)
        if start
        else command.extract(payload.path, format=naming.name)
        for start, naming in list(places.items())[:_SHOWN]
    ]
    return f"{said} Networks lie below {found}; type: {', or: '.join(lines)}"


def _hint(payload: Payload, tensors: Mapping[str, Tensor]) -> str:
    """Return the line to type where no network was found."""
    expected = ("conv1.weight", "patch_embed.proj.weight", "layer1.0.conv1.weight")
    for name in expected:
        near = nearest(name, tensors, 1)
        if near:
            return (
                f" Expected {name}, nearest is {near[0]}; if a prefix hides the "
                f"network, type: {command.extract(payload.path, prefix='PREFIX')}"
            )
    said = command.extract(payload.path, prefix="PREFIX")
    return f" If a prefix hides the network, type: {said}"
