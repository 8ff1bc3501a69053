"""State dicts found in a file, and their keys: taken, dropped by a rule, or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.formats import pickled_modules
from ssl_bench.checkpoints.formats.placeholder import Placeholder
from ssl_bench.checkpoints.layout import (
    AVERAGE,
    CONTAINERS,
    HEAD,
    INNER_WRAPPERS,
    WRAPPERS,
    Encoder,
    Naming,
    Rules,
)
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.errors import CheckpointError

_MAX_DEPTH = 8
_PART = "#"
_COUNTERS = frozenset(key for keys in AVERAGE.values() for key in keys)


@dataclass(frozen=True)
class State:
    """Hold one state dict of a file.

    Attributes:
        entries: values by key, without wrappers.
        names: the keys as they stand in the file.
        beside: what stands in the file next to it.
        encoder: ``online`` or ``ema``.
        container: where the state dict lies; empty for the file itself.
    """

    entries: Mapping[str, Any]
    names: Mapping[str, str]
    beside: tuple[str, ...]
    encoder: str
    container: str = ""

    def has(self, *keys: str) -> bool:
        """Tell whether all these tensors are here."""
        return all(isinstance(self.entries.get(key), Tensor) for key in keys)


def is_state(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether this is a state dict: text keys, and tensors among the values."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(item, Tensor) for item in value.values())
    )


def states(
    payload: Payload, containers: Mapping[str, str] = CONTAINERS
) -> Iterator[State]:
    """Yield the state dicts in the containers of a file, or else the file itself."""
    found = False
    for path, encoder in containers.items():
        if path and is_state(entries := at(payload.tree, path)):
            found = True
            yield unwrapped(entries, _beside(payload.tree, path), encoder, path)
    if not found and "" in containers and is_state(tree := opened(payload.tree)):
        yield unwrapped(tree, (), containers[""])


def opened(value: Any) -> Any:
    """Return the state dict of a network that was pickled whole; others unchanged."""
    if isinstance(value, Placeholder):
        found = pickled_modules.state_dict(value)
        return value if found is None else found
    return value


def at(tree: Any, path: str) -> Any:
    """Return what lies at a dotted path of nested dictionaries, or None."""
    for part in path.split("."):
        if not isinstance(tree, Mapping):
            return None
        tree = opened(tree.get(part))
    return tree


def _beside(tree: Any, path: str) -> tuple[str, ...]:
    """Return what lies next to a path, at every level on the way."""
    found: list[str] = []
    start = ""
    for part in path.split("."):
        found += [f"{start}{key}" for key in tree if key != part]
        tree, start = opened(tree[part]), f"{start}{part}."
    return tuple(found)


def unwrapped(
    entries: Mapping[str, Any],
    beside: tuple[str, ...],
    encoder: str,
    container: str = "",
) -> State:
    """Take wrappers off that stand before every key, however many there are."""
    names = {key: key for key in entries}
    if any(part in key for key in entries for part in INNER_WRAPPERS):
        bare = {_without_inner(key): key for key in entries}
        names = bare if len(bare) == len(names) else names
    counters = names.keys() & _COUNTERS
    while wrapper := _wrapper(key for key in names if key not in counters):
        names = {
            key if key in counters else key[len(wrapper) :]: name
            for key, name in names.items()
        }
    inner = {key: entries[name] for key, name in names.items()}
    return State(inner, names, beside, encoder, container)


def _without_inner(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in INNER_WRAPPERS)


def _wrapper(keys: Iterable[str]) -> str:
    """Return the wrapper that stands before every key, or nothing."""
    keys = list(keys)
    return next(
        (w for w in WRAPPERS if keys and all(key.startswith(w) for key in keys)), ""
    )


def matches(key: str, rules: Rules) -> str | None:
    """Return the name of the rule that drops a key; None if none does."""
    for rule, patterns in rules.items():
        if any(fits(key, pattern) for pattern in patterns):
            return rule
    return None


def merged(*several: Rules) -> dict[str, tuple[str, ...]]:
    """Return all rules together; those of one name drop what each of them drops."""
    together: dict[str, tuple[str, ...]] = {}
    for rules in several:
        for rule, patterns in rules.items():
            both = (*together.get(rule, ()), *patterns)
            together[rule] = tuple(dict.fromkeys(both))
    return together


def fits(key: str, pattern: str) -> bool:
    """Tell whether a key is what a pattern of `Rules` means."""
    if pattern.startswith("*."):
        return key == pattern[2:] or key.endswith(pattern[1:])
    return key == pattern or (pattern.endswith(".") and key.startswith(pattern))


def has_any(keys: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """Tell whether any key is meant by any pattern."""
    return any(fits(key, pattern) for key in keys for pattern in patterns)


def keys_below(state: State, prefix: str) -> dict[str, str]:
    """Return the keys of one network, as they stand and without prefix and wrappers."""
    found = {key: key[len(prefix) :] for key in state.entries if key.startswith(prefix)}
    while prefix and (wrapper := _wrapper(found.values())):
        found = {key: rest[len(wrapper) :] for key, rest in found.items()}
    return found


def sort(
    state: State,
    *,
    naming: Naming | None = None,
    prefix: str = "",
    inside: Rules = HEAD,
    outside: Rules | None = None,
) -> Encoder:
    """Sort every key of a state dict: taken, dropped by a named rule, or unknown.

    Args:
        state: where the keys come from.
        naming: of the network; None leaves the names as they are.
        prefix: what the keys of the network begin with, up to and with the dot.
        inside: rules for keys of the network, without the prefix.
        outside: rules for the other keys.

    Raises:
        CheckpointError: if two keys get the same name.
    """
    inside = merged(inside, naming.drop if naming else {}, AVERAGE)
    outside = merged(outside or {}, AVERAGE)
    below = keys_below(state, prefix)
    tensors: dict[str, Tensor] = {}
    names: dict[str, tuple[str, ...]] = {}
    dropped: dict[str, list[str]] = {}
    unknown: dict[str, Tensor] = {}
    for key, value in state.entries.items():
        name = None
        if key in below:
            rest = below[key]
            name = naming.rename(rest) if naming else rest
            rule = matches(rest, inside) if name is None or not naming else None
        else:
            rule = matches(key, outside)
        if rule is None and not isinstance(value, Tensor):
            rule = "not a tensor"
        origin = state.names[key]
        if rule is not None:
            dropped.setdefault(rule, []).append(origin)
        elif name is None:
            unknown[origin] = value
        elif name in tensors:
            raise CheckpointError(
                f"both {names[name][0]} and {origin} mean {name}; choose one with "
                "--prefix"
            )
        else:
            tensors[name], names[name] = value, (origin,)
    _join(tensors, names)
    if naming is not None and naming.finish is not None:
        before, tensors = tensors, naming.finish(dict(tensors))
        names = _followed(names, before, tensors)
    if state.beside:
        dropped["beside the weights"] = list(state.beside)
    return Encoder(
        tensors, names, {rule: tuple(keys) for rule, keys in dropped.items()}, unknown
    )


def _followed(
    names: Mapping[str, tuple[str, ...]],
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
) -> dict[str, tuple[str, ...]]:
    """Return the keys behind our names after tensors got other names."""
    olds = {id(tensor): name for name, tensor in before.items()}
    found = {}
    for name, tensor in after.items():
        old = name if before.get(name) is tensor else olds.get(id(tensor), name)
        found[name] = names.get(old, ())
    return {name: keys for name, keys in found.items() if keys}


def _join(tensors: dict[str, Tensor], names: dict[str, tuple[str, ...]]) -> None:
    """Join the parts of a tensor; parts that do not go together stay as they are."""
    parts: dict[str, list[int]] = {}
    for name in tensors:
        whole, mark, index = name.partition(_PART)
        if mark:
            parts.setdefault(whole, []).append(int(index))
    for whole, indices in parts.items():
        pieces = [f"{whole}{_PART}{index}" for index in sorted(indices)]
        shapes = {tensors[piece].shape[1:] for piece in pieces}
        if sorted(indices) != list(range(len(indices))) or len(shapes) > 1:
            continue
        if whole in tensors or not all(tensors[piece].ndim for piece in pieces):
            continue
        tensors[whole] = torch.cat([tensors.pop(piece) for piece in pieces])
        names[whole] = tuple(key for piece in pieces for key in names.pop(piece))


def input_of(tree: Any) -> InputSpec | None:
    """Return the image statistics that timm writes beside its weights, if any."""
    config = tree.get("pretrained_cfg") if isinstance(tree, Mapping) else None
    if not isinstance(config, Mapping):
        return None
    mean, std = config.get("mean"), config.get("std")
    for values in (mean, std):
        if not isinstance(values, (tuple, list)) or not all(
            isinstance(value, (int, float)) for value in values
        ):
            return None
    if not mean or not std or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        return None
    return InputSpec(tuple(map(float, mean)), tuple(map(float, std)))


def flatten(tree: Any, prefix: str = "", depth: int = _MAX_DEPTH) -> dict[str, Tensor]:
    """Return every tensor of nested dictionaries by its path, parts joined by dots."""
    tree = opened(tree)
    if not isinstance(tree, Mapping) or not depth:
        return {}
    found: dict[str, Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, Tensor):
            found[f"{prefix}{key}"] = value
        else:
            found |= flatten(value, f"{prefix}{key}.", depth - 1)
    return found
