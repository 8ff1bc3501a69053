"""What a layout is made of: state dicts found in a file, and their keys sorted.

A layout is a module with ``LAYOUT`` (its name), ``PRODUCERS`` (who writes it) and
``read(payload) -> Reading | None``. It returns None for files of others, and otherwise
every encoder of the file with its keys in our names. A key that no rule knows keeps
its own name, and the load gate will name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from torch import Tensor

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.errors import CheckpointError

ONLINE = "online"
EMA = "ema"
ENCODERS = (ONLINE, EMA)

Rules = Mapping[str, tuple[str, ...]]
"""From the name of a rule to what it drops: a prefix ends in a dot, else a whole key.

Prefixes keep their dot so that ``encoder.`` is not found in ``encoder_q.``.
"""

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DistributedDataParallel, torch.compile and Lightning put before every key."""

CONTAINERS = {
    "state_dict": ONLINE,
    "model": ONLINE,
    "state_dict_ema": EMA,
    "model_ema": EMA,
}
"""Where torchvision, timm and MMSelfSup keep a state dict."""

HEAD: Rules = {"head": ("fc.", "head.", "classifier.", "heads.", "head_dist.")}
AVERAGE: Rules = {"counter of the average": ("n_averaged", "steps")}

_MAX_DEPTH = 8


@dataclass(frozen=True)
class State:
    """Hold one state dict of a file.

    Attributes:
        entries: values by key, without wrappers.
        names: the keys as they stand in the file.
        beside: what stands in the file next to it.
        encoder: ``online`` or ``ema``.
    """

    entries: Mapping[str, Any]
    names: Mapping[str, str]
    beside: tuple[str, ...]
    encoder: str

    def has(self, *keys: str) -> bool:
        """Tell whether all these tensors are here."""
        return all(isinstance(self.entries.get(key), Tensor) for key in keys)


@dataclass(frozen=True)
class Encoder:
    """Hold one network of a file, in our names.

    Attributes:
        tensors: by our names; unknown keys keep theirs.
        names: from our names to the keys in the file.
        dropped: keys of the file that a named rule leaves out.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    dropped: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Reading:
    """Hold what a layout found in a file.

    Attributes:
        encoders: by ``online`` and ``ema``.
        default: which of them is meant when nobody says.
        input: statistics of the images, where the file has them.
        hidden: options of the architecture that no tensor shows (number of heads).
        provenance: what an earlier extraction wrote down.
    """

    encoders: Mapping[str, Encoder]
    default: str
    input: InputSpec | None = None
    hidden: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
    tree = payload.tree
    if not isinstance(tree, Mapping):
        return
    held = [name for name in containers if is_state(tree.get(name))]
    for name in held:
        beside = tuple(str(key) for key in tree if key != name)
        yield unwrapped(tree[name], beside, containers[name])
    if not held and is_state(tree):
        yield unwrapped(tree, (), ONLINE)


def unwrapped(
    entries: Mapping[str, Any], beside: tuple[str, ...], encoder: str
) -> State:
    """Take wrappers off that stand before every key, however many there are."""
    names = {key: key for key in entries}
    counters = {key for key in names if matches(key, AVERAGE)}
    while True:
        keys = [key for key in names if key not in counters]
        wrapper = next(
            (w for w in WRAPPERS if keys and all(key.startswith(w) for key in keys)), ""
        )
        if not wrapper:
            break
        names = {
            key if key in counters else key[len(wrapper) :]: name
            for key, name in names.items()
        }
    return State({k: entries[n] for k, n in names.items()}, names, beside, encoder)


def matches(key: str, rules: Rules) -> str | None:
    """Return the name of the rule that drops a key; None if none does."""
    for rule, patterns in rules.items():
        for pattern in patterns:
            if key == pattern or (pattern.endswith(".") and key.startswith(pattern)):
                return rule
    return None


def sort(
    state: State,
    *,
    prefix: str = "",
    inside: Rules = HEAD,
    outside: Rules | None = None,
    rename: Callable[[str], str] = str,
) -> Encoder:
    """Sort every key of a state dict: taken, dropped by a named rule, or left over.

    Args:
        state: where the keys come from.
        prefix: what the keys of the encoder begin with, up to and with the dot.
        inside: rules for keys of the encoder, without the prefix.
        outside: rules for the other keys.
        rename: from the producer's names to ours; unknown names pass unchanged.

    Raises:
        CheckpointError: if two keys get the same name.
    """
    inside, outside = {**inside, **AVERAGE}, {**(outside or {}), **AVERAGE}
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    dropped: dict[str, list[str]] = {}
    for key, value in state.entries.items():
        if prefix and not key.startswith(prefix):
            rule, name = matches(key, outside), key
        else:
            name = rename(key[len(prefix) :])
            rule = matches(key[len(prefix) :], inside)
        if rule is None and not isinstance(value, Tensor):
            rule = "not a tensor"
        if rule is not None:
            dropped.setdefault(rule, []).append(state.names[key])
        elif name in tensors:
            raise CheckpointError(
                f"both {names[name]} and {state.names[key]} mean {name}; choose one "
                "with --prefix"
            )
        else:
            tensors[name], names[name] = value, state.names[key]
    if state.beside:
        dropped["beside the weights"] = list(state.beside)
    return Encoder(
        tensors, names, {rule: tuple(keys) for rule, keys in dropped.items()}
    )


def read_flat(
    payload: Payload,
    signature: tuple[str, ...],
    *,
    inside: Rules = HEAD,
    rename: Callable[[str], str] = str,
) -> Reading | None:
    """Read a file whose keys have no prefix of an encoder.

    Args:
        payload: the file.
        signature: tensors that all have to be there.
        inside: rules for keys that are dropped.
        rename: from the producer's names to ours.

    Returns:
        The encoders of the file, or None if none has the signature. A container
        without it counts as an encoder too where another has it: a damaged one must
        not give way to its average in silence.

    Raises:
        CheckpointError: if two containers hold the same encoder.
    """
    found = list(states(payload))
    if not any(state.has(*signature) for state in found):
        return None
    encoders: dict[str, Encoder] = {}
    for state in found:
        if state.encoder in encoders:
            raise CheckpointError(
                f"{payload.path} holds two {state.encoder} encoders (state_dict and "
                "model); choose one with --prefix state_dict. or --prefix model."
            )
        encoders[state.encoder] = sort(state, inside=inside, rename=rename)
    default = ONLINE if ONLINE in encoders else EMA
    return Reading(encoders, default, input=input_of(payload.tree))


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
    if not isinstance(tree, Mapping) or not depth:
        return {}
    found: dict[str, Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, Tensor):
            found[f"{prefix}{key}"] = value
        else:
            found |= flatten(value, f"{prefix}{key}.", depth - 1)
    return found
