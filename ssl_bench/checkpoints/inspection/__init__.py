"""Look into a checkpoint: what it holds, who could have written it, what to type.

No numbers are read: shapes and names say all of it. A naming that has to see a number
is asked a second time, with the file behind the tensors that it looks at.
"""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssl_bench.backbones import COUNTER, skeleton
from ssl_bench.checkpoints import extracted, gate, reader, recipe, structure
from ssl_bench.checkpoints.catalogue import layouts, producer_of
from ssl_bench.checkpoints.choice import alternatives, choose, informed, wrote
from ssl_bench.checkpoints.inspection.containers import containers, entries
from ssl_bench.checkpoints.inspection.foreign import clean
from ssl_bench.checkpoints.layout import ONLINE, Encoder, Naming, Reading
from ssl_bench.checkpoints.matching import Match, explaining
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import flatten, opened, sort, unwrapped
from ssl_bench.errors import CheckpointError
from ssl_bench.progress import note

Found = TypeVar("Found")

_SHOWN = 10
"""Keys that are named where many have the same fate; the rest are counted."""

_NO_NUMBERS = (NotImplementedError, RuntimeError)
"""What torch raises when somebody asks a meta tensor for a number."""


def inspect(path: Path) -> dict[str, Any]:
    """Return what a file holds, in plain types that JSON knows.

    Args:
        path: the file.

    Raises:
        CheckpointError: if it is missing, damaged or no checkpoint.
    """
    payload = reader.peek(path)
    bare = replace(payload, tree=without_numbers(payload.tree))
    readings, errors = _claims(bare, payload)
    best = explaining(readings)
    found = [
        _candidate(name, readings[name], bare)
        for name in sorted(readings, key=lambda name: (name not in best, name))
    ]
    tensors, full = flatten(bare.tree), flatten(payload.tree)
    places = [
        _ask(
            functools.partial(_place, start, naming, tensors),
            functools.partial(_place, start, naming, full),
        )
        for start, naming in structure.places(tensors).items()
    ]
    return {
        "file": clean(payload.source, 300),
        "bytes": path.stat().st_size,
        "containers": containers(bare.tree),
        "entries": entries(payload.tree),
        "metadata": {clean(k): clean(v) for k, v in payload.metadata.items()},
        "candidates": [
            *found,
            *({"layout": name, "error": text} for name, text in errors.items()),
        ],
        "networks": places,
        "type": _lines(str(path), best, found, places),
    }


def without_numbers(tree: Any, known: dict[int, Tensor] | None = None) -> Any:
    """Return a tree with the same names and shapes, whose tensors have no storage.

    Args:
        tree: as the reader returned it; what is no mapping stays as it is.
        known: tensors that were met already, so that one with two names stays one.
    """
    known = {} if known is None else known
    tree = opened(tree)
    if isinstance(tree, Tensor):
        if id(tree) not in known:
            known[id(tree)] = torch.empty_like(tree, device="meta")
        return known[id(tree)]
    if isinstance(tree, Mapping):
        return {key: without_numbers(value, known) for key, value in tree.items()}
    return tree


def _claims(bare: Payload, full: Payload) -> tuple[dict[str, Reading], dict[str, str]]:
    """Return the readings of all layouts, and the complaints of those that fail."""
    readings: dict[str, Reading] = {}
    errors: dict[str, str] = {}
    asked = [name for name in layouts() if name != structure.LAYOUT]
    try:
        if extracted.provenance(bare) is not None:
            asked = [extracted.LAYOUT]
    except CheckpointError as error:
        return {}, {extracted.LAYOUT: clean(str(error), 400)}
    for name in asked:
        _claim(name, bare, full, readings, errors)
    if not readings and not errors:
        _claim(structure.LAYOUT, bare, full, readings, errors)
    return readings, errors


def _claim(
    name: str,
    bare: Payload,
    full: Payload,
    readings: dict[str, Reading],
    errors: dict[str, str],
) -> None:
    module = layouts()[name]
    try:
        reading = _ask(
            lambda: recipe.read(module, bare), lambda: recipe.read(module, full)
        )
    except (CheckpointError, *_NO_NUMBERS) as error:
        errors[name] = clean(str(error), 400)
    else:
        if reading is not None:
            readings[name] = reading


def _ask(light: Callable[[], Found], heavy: Callable[[], Found]) -> Found:
    """Ask without numbers, and with the file only where that cannot be answered."""
    try:
        return light()
    except _NO_NUMBERS:
        return heavy()


def _candidate(name: str, reading: Reading, payload: Payload) -> dict[str, Any]:
    """Return what one layout makes of the file."""
    producer = producer_of(layouts()[name], reading.producer)
    found = Match(name, reading, producer)
    try:
        found = informed(found, Path(payload.path), named=False)
    except CheckpointError as error:
        note(str(error))
    reading = found.reading
    default = choose(found, None, payload.path, labelled=False)
    hidden = {**reading.hidden, **producer.hidden, **reading.decided}
    try:
        others = alternatives(found, default)
    except CheckpointError:
        others = {}
    unexplained = reading.unexplained
    return {
        "layout": name,
        "producer": wrote(found),
        "alternatives": others,
        "networks": [
            {
                "encoder": label,
                "default": label == default,
                "prefix": clean(_common(encoder)),
                **_network(encoder, hidden),
                "dropped": {
                    clean(rule): len(keys) for rule, keys in encoder.dropped.items()
                },
            }
            for label, encoder in reading.encoders.items()
        ],
        "unexplained": [clean(key) for key in unexplained[:_SHOWN]],
        "unexplained_count": len(unexplained),
    }


def _common(encoder: Encoder) -> str:
    """Return the prefix that all keys of a network share, with its dot."""
    keys = [key.split(".") for keys in encoder.names.values() for key in keys]
    shared = itertools.takewhile(
        lambda parts: len(set(parts)) == 1, zip(*keys, strict=False)
    )
    return "".join(f"{parts[0]}." for parts in shared)


def _network(encoder: Encoder, hidden: Mapping[str, Any]) -> dict[str, Any]:
    """Return architecture and completeness of one network."""
    facts: dict[str, Any] = {
        "tensors": len(encoder.tensors),
        "numbers": sum(tensor.numel() for tensor in encoder.tensors.values()),
    }
    try:
        spec = gate.architecture(encoder, "", hidden, None)
    except CheckpointError as error:
        reason = str(error).removeprefix(": ").partition("; if you know")[0]
        return {**facts, "arch": None, "reason": clean(reason, 400)}
    missing = [
        name
        for name, place in skeleton(spec).items()
        if name.rpartition(".")[2] != COUNTER
        and (name not in encoder.tensors or encoder.tensors[name].shape != place.shape)
    ]
    return {
        **facts,
        "arch": spec.name,
        "missing": missing[:_SHOWN],
        "missing_count": len(missing),
    }


def _place(start: str, naming: Naming, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what lies below a prefix, by structure alone."""
    inner = {
        path[len(start) :]: tensor
        for path, tensor in tensors.items()
        if path.startswith(start)
    }
    facts: dict[str, Any]
    try:
        encoder = sort(unwrapped(inner, (), ONLINE), naming=naming)
        facts = _network(encoder, naming.hidden)
    except CheckpointError as error:
        facts = {"arch": None, "reason": clean(str(error), 400)}
    return {"prefix": clean(start, 200), "names": naming.name, **facts}


def _lines(
    path: str,
    best: Mapping[str, Reading],
    found: list[dict[str, Any]],
    places: list[dict[str, Any]],
) -> list[str]:
    """Return the command lines that go on from here."""
    start = f"ssl-bench extract {shlex.quote(clean(path, 400))} OUT.pth"
    if len(best) > 1:
        return [f"{start} --format {name}" for name in sorted(best)]
    if best:
        taken = found[0]
        if taken["unexplained_count"] or not _is_whole(taken["networks"]):
            others = [
                f"{start} --prefix {shlex.quote(place['prefix'])}"
                for place in places
                if place["prefix"] and place["arch"] and not place["missing_count"]
            ]
            return [*others[:_SHOWN], f"{start} --allow-partial"]
        return [start] + [
            f"{start} --encoder {network['encoder']}"
            for network in taken["networks"]
            if not network["default"]
        ]
    return [
        f"{start} --prefix {shlex.quote(place['prefix'])}"
        if place["prefix"]
        else f"{start} --format {place['names']}"
        for place in itertools.islice(places, _SHOWN)
    ]


def _is_whole(networks: list[dict[str, Any]]) -> bool:
    """Tell whether the network that is taken by default has all its tensors."""
    taken = next(network for network in networks if network["default"])
    return taken["arch"] is not None and not taken["missing_count"]
