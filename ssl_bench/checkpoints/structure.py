"""A network below a prefix that no layout foresaw, found by its structure alone.

Asked only where no layout knows the file. Every place below which the anchors of a
known naming lie is a network. One alone is taken, and so is a pair of which one is
called a teacher, a momentum or a target network; of several others the user has to
choose with ``--prefix``. What lies outside is left out under that name, unless it looks
like what is left of another copy: a damaged one must not give way in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ssl_bench.checkpoints import recipe
from ssl_bench.checkpoints.catalogue import namings
from ssl_bench.checkpoints.layout import (
    EMA,
    HEAD,
    ONLINE,
    Encoder,
    Naming,
    Producer,
    Reading,
)
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import State, flatten, sort

LAYOUT = "structure"
PRODUCERS = (Producer("unknown", "any producer, by structure alone"),)

AVERAGE_WORDS = ("ema", "teacher", "momentum", "target", "key", "k", "average")
"""Words in a prefix by which code bases call the averaged copy of a network."""

_TORSO = 3
"""Tensors of the same names and shapes that are taken for the rest of a copy."""


def read(payload: Payload) -> Reading | None:
    """Read a file by structure; None if there is no network, or too many of them."""
    tensors = flatten(payload.tree)
    found = places(tensors)
    labels = {start: label_of(start) for start in found}
    if not found or len(set(labels.values())) < len(found):
        return None
    if any(
        label_of(start) == ONLINE or ONLINE not in labels.values()
        for start in torsos(tensors, found)
    ):
        return None
    encoders = {}
    for start, naming in found.items():
        label = labels[start]
        inner = {p: t for p, t in tensors.items() if p.startswith(start)}
        rule = f"outside {start}" if start else "outside"
        outside = tuple(path for path in tensors if path not in inner)
        state = State(inner, {path: path for path in inner}, (), label)
        encoder = sort(state, naming=naming, prefix=start, inside=HEAD)
        dropped = {**encoder.dropped, **({rule: outside} if outside else {})}
        encoders[label] = replace(encoder, dropped=dropped)
    start, naming = next(iter(found.items()))
    inner = {p: t for p, t in tensors.items() if p.startswith(start)}
    hidden = recipe.options(naming, State(inner, {}, (), ONLINE), start)
    default = ONLINE if ONLINE in encoders else EMA
    return Reading(encoders, default, hidden=hidden)


def places(tensors: Mapping[str, Tensor]) -> dict[str, Naming]:
    """Return every prefix below which a network of a known kind lies.

    A block of a network may have the names of a network of another kind, as a
    bottleneck has those of CLIP's stem; it is a part, and none of its own.

    Args:
        tensors: by path in the file.
    """
    starts = {
        path[: len(path) - len(anchor)]
        for naming in namings().values()
        for anchor in naming.anchors
        for path in tensors
        if path == anchor or path.endswith(f".{anchor}")
    }
    found: dict[str, Naming] = {}
    for start in sorted(starts):
        paths = [path for path in tensors if path.startswith(start)]
        if any(
            start.startswith(outer)
            and any(naming.rename(path[len(outer) :]) is not None for path in paths)
            for outer, naming in found.items()
        ):
            continue
        naming = recipe.find_naming([path[len(start) :] for path in paths])
        if naming is not None:
            found[start] = naming
    return found


def torsos(tensors: Mapping[str, Tensor], found: Mapping[str, Naming]) -> list[str]:
    """Return the prefixes below which too little of another copy lies.

    Args:
        tensors: by path in the file.
        found: the networks of the file by their prefixes, as `places` returns them.
    """
    shapes = {
        (path[len(start) :], tensor.shape)
        for start, naming in found.items()
        for path, tensor in tensors.items()
        if path.startswith(start) and naming.rename(path[len(start) :]) is not None
    }
    counted: Counter[str] = Counter()
    for path, tensor in tensors.items():
        if path.startswith(tuple(found)):
            continue
        parts = path.split(".")
        for depth in range(len(parts)):
            if (".".join(parts[depth:]), tensor.shape) in shapes:
                counted["".join(f"{part}." for part in parts[:depth])] += 1
    return [start for start, count in counted.items() if count >= _TORSO]


def elsewhere(payload: Payload, encoder: Encoder) -> list[str]:
    """Return the prefixes of the networks of a file other than this one."""
    tensors = flatten(payload.tree)
    taken = next((keys[0] for keys in encoder.names.values() if keys), "")
    own = [path for path in tensors if path == taken or path.endswith(f".{taken}")]
    return [
        start
        for start in places(tensors)
        if start and not all(path.startswith(start) for path in own)
    ]


def label_of(start: str) -> str:
    """Tell by its prefix whether a network is an average."""
    words = start.lower().replace(".", "_").split("_")
    return EMA if any(word in AVERAGE_WORDS for word in words) else ONLINE
