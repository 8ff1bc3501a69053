"""Read a file by a recipe: find the networks, and how their tensors are named."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.catalogue import namings, recipe_of
from ssl_bench.checkpoints.layout import (
    AVERAGE,
    EMA,
    HEAD,
    ONLINE,
    Encoder,
    Naming,
    Reading,
    Recipe,
    Rules,
)
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import (
    State,
    has_any,
    input_of,
    keys_below,
    matches,
    merged,
    sort,
    states,
)
from ssl_bench.errors import CheckpointError

_ENOUGH = 2
"""Anchors that make a candidate: one may be missing from a damaged file."""


def read(module: ModuleType, payload: Payload) -> Reading | None:
    """Read a file as one layout; None if it is not one of its files.

    Raises:
        CheckpointError: if the layout fits and finds the file contradicting itself.
    """
    own = getattr(module, "read", None)
    if own is not None:
        reading: Reading | None = own(payload)
        return reading
    recipe = recipe_of(module)
    return None if recipe is None else read_recipe(payload, recipe)


def read_recipe(payload: Payload, recipe: Recipe) -> Reading | None:
    """Read a file by a recipe.

    Args:
        payload: the file.
        recipe: where its producer keeps what.

    Returns:
        Every network of the file, or None if the file is not of this producer. A
        network counts also where it is damaged: it must not give way to another copy
        in silence, and the load gate names what is wrong.

    Raises:
        CheckpointError: if two containers hold the same copy.
    """
    found = list(states(payload, recipe.containers))
    if not found or not _is_theirs(found, recipe):
        return None
    places = [
        (label, state, prefix)
        for state in found
        for label, prefixes in ((state.encoder, recipe.online), (EMA, recipe.ema))
        if prefixes is recipe.online or state.encoder == ONLINE
        if (prefix := _first(state, prefixes)) is not None
    ]
    named = [
        find_naming(keys_below(state, prefix).values(), recipe.namings, recipe.inside)
        for _, state, prefix in places
    ]
    naming = next((one for one in named if one is not None), None)
    if naming is None:
        return None
    encoders: dict[str, Encoder] = {}
    origins: dict[str, str] = {}
    for (label, state, prefix), own in zip(places, named, strict=True):
        if label in encoders:
            raise CheckpointError(
                f"{payload.path} holds two {label} networks; choose one with --prefix "
                f"{origins[label]} or --prefix {state.container}."
            )
        outside = merged(recipe.outside, _others(recipe, prefix))
        encoders[label] = sort(
            state,
            naming=own or naming,
            prefix=prefix,
            inside=recipe.inside,
            outside=outside,
        )
        origins[label] = f"{state.container}."
    default = recipe.default if recipe.default in encoders else next(iter(encoders))
    return Reading(
        encoders,
        default,
        input=input_of(payload.tree),
        hidden={**options(naming, places[0][1], places[0][2]), **recipe.hidden},
    )


def options(naming: Naming, state: State, prefix: str) -> dict[str, Any]:
    """Return the options of an architecture that no tensor of the network shows.

    Args:
        naming: of the network.
        state: where it lies.
        prefix: what its keys begin with.
    """
    if naming.shown is None:
        return dict(naming.hidden)
    tensors = {
        inner: state.entries[key]
        for key, inner in keys_below(state, prefix).items()
        if isinstance(state.entries[key], Tensor)
    }
    return {**naming.hidden, **naming.shown(tensors)}


def _is_theirs(found: list[State], recipe: Recipe) -> bool:
    """Tell whether the file has what only this producer writes."""
    keys = [key for state in found for key in state.entries]
    beside = [key for state in found for key in state.beside]
    return (
        all(has_any(keys, group) for group in recipe.needs)
        and not has_any(keys, recipe.lacks)
        and (not recipe.beside or has_any(beside, recipe.beside))
    )


def _first(state: State, prefixes: tuple[str, ...]) -> str | None:
    """Return the first prefix that any key has."""
    return next(
        (p for p in prefixes if any(key.startswith(p) for key in state.entries)), None
    )


def _others(recipe: Recipe, taken: str) -> Rules:
    """Return the rule that drops the networks that were not taken."""
    others = {*recipe.online, *recipe.ema} - {taken, ""}
    return {"other network": tuple(sorted(others))} if others else {}


def find_naming(
    keys: Iterable[str], only: tuple[str, ...] = (), inside: Rules = HEAD
) -> Naming | None:
    """Return the naming of a network; None if it is of no known kind.

    Args:
        keys: without prefix.
        only: names of the namings to try; none stands for all.
        inside: rules for keys that are dropped.

    Raises:
        CheckpointError: if two namings explain the keys equally well.
    """
    there = set(keys)
    ranked: dict[int, list[Naming]] = {}
    for name, naming in namings().items():
        if only and name not in only:
            continue
        enough = min(_ENOUGH, len(naming.anchors))
        if sum(anchor in there for anchor in naming.anchors) < enough:
            continue
        if naming.needs and not has_any(there, naming.needs):
            continue
        if has_any(there, naming.lacks):
            continue
        rules = merged(inside, naming.drop, AVERAGE)
        count = sum(
            naming.rename(key) is None and matches(key, rules) is None for key in there
        )
        ranked.setdefault(count, []).append(naming)
    if not ranked:
        return None
    best = ranked[min(ranked)]
    if len(best) > 1:
        names = " and ".join(naming.name for naming in best)
        raise CheckpointError(f"the names fit {names}; name one with --format")
    return best[0]
