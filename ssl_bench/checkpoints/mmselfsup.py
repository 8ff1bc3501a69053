"""Checkpoints of MMSelfSup 0.x and 1.x and of MMPretrain, with their prefixes.

Source: ``mmselfsup/models/algorithms`` of both lines. The backbone is ``backbone.``;
0.x algorithms with two encoders name it a second time (``encoder_q.0.`` and so on), as
an alias of the same tensors. mmengine's EMAHook swaps at saving time: where a file has
``ema_state_dict``, ``state_dict`` is already the average and is what OpenMMLab's tools
evaluate, so it is the default here too, under its true name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ssl_bench.checkpoints import mmselfsup_vit, resnet_flat
from ssl_bench.checkpoints.layout import (
    EMA,
    HEAD,
    ONLINE,
    Encoder,
    Reading,
    Rules,
    State,
    is_state,
    sort,
    states,
    unwrapped,
)
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.errors import CheckpointError

LAYOUT = "mmselfsup"
PRODUCERS = ("MMSelfSup 0.x", "MMSelfSup 1.x", "MMPretrain", "MMClassification")

BACKBONE = "backbone."
ALIASES = ("encoder_q.0.", "online_net.0.", "encoder.0.", "base_encoder.0.")
AVERAGES = (
    "encoder_k.0.",
    "encoder_k.module.0.",
    "target_net.0.",
    "target_net.module.0.",
    "momentum_encoder.0.",
    "momentum_encoder.module.0.",
    "teacher.",
)
OUTSIDE: Rules = {
    "neck": ("neck.",),
    "head": ("head.",),
    "data_preprocessor": ("data_preprocessor.",),
    "queue": ("queue", "queue_ptr", "queue2", "queue2_ptr", "memory_bank."),
    "target_generator": ("target_generator.", "hog_layer."),
    "alias of the backbone": ALIASES,
    "other encoder": (
        BACKBONE,
        "encoder_q.",
        "encoder_k.",
        "online_net.",
        "target_net.",
        "encoder.",
        "base_encoder.",
        "momentum_encoder.",
        "teacher.",
    ),
}
_SIGNATURES = (resnet_flat.SIGNATURE, mmselfsup_vit.SIGNATURE)
_MOCOV3 = ("base_encoder.", "momentum_encoder.")
_MOCOV3_HEADS = 12
"""MoCo v3 gives its small transformer 12 heads, which no shape shows."""


def read(payload: Payload) -> Reading | None:
    """Read a training checkpoint of OpenMMLab's self-supervised algorithms."""
    state = next(states(payload, {"state_dict": ONLINE}), None)
    if state is None or not _ours(state):
        return None
    main = _first(state, (BACKBONE, *ALIASES))
    average = _first(state, AVERAGES)
    if not any(_is_network(state, prefix) for prefix in (main, average) if prefix):
        return None
    encoders: dict[str, Encoder] = {}
    if main:
        _check_aliases(state, main)
        encoders[ONLINE] = _take(state, main)
    if average:
        encoders[EMA] = _take(state, average)
    default = ONLINE if main else EMA
    raw = _raw_weights(payload.tree)
    if raw is not None and main:
        encoders[EMA], default = encoders[ONLINE], EMA
        encoders[ONLINE] = _take(raw, _first(raw, (BACKBONE, *ALIASES)) or main)
    return Reading(encoders, default, hidden=_hidden(state, encoders))


def _ours(state: State) -> bool:
    """Tell whether nothing stands beside the backbone that MMSelfSup never writes."""
    known = tuple(p for patterns in OUTSIDE.values() for p in patterns)
    return all(
        any(key == p or (p.endswith(".") and key.startswith(p)) for p in known)
        for key in state.entries
        if key not in ("steps", "n_averaged")
    )


def _first(state: State, prefixes: tuple[str, ...]) -> str | None:
    """Return the first prefix that any key has.

    Whether a whole network lies below is for the load gate to say: a damaged backbone
    must not give way to another encoder in silence.
    """
    for prefix in prefixes:
        if any(key.startswith(prefix) for key in state.entries):
            return prefix
    return None


def _is_network(state: State, prefix: str) -> bool:
    """Tell whether a network of a known kind lies below a prefix."""
    return any(
        state.has(*(f"{prefix}{key}" for key in signature)) for signature in _SIGNATURES
    )


def _check_aliases(state: State, main: str) -> None:
    """Refuse a file in which the second name of the backbone holds other numbers."""
    for alias in ALIASES:
        for key, value in state.entries.items():
            if alias == main or not key.startswith(alias):
                continue
            twin = state.entries.get(main + key[len(alias) :])
            if not isinstance(value, torch.Tensor):
                continue
            if not isinstance(twin, torch.Tensor) or not _equal(value, twin):
                raise CheckpointError(
                    f"{key} and {main}{key[len(alias) :]} should be one tensor and "
                    f"differ; choose with --prefix {alias} or --prefix {main}"
                )


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Compare bit by bit in effect: NaN equals NaN, and the load gate reports it."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    same = one == other
    if one.is_floating_point():
        same |= one.isnan() & other.isnan()
    return bool(same.all())


def _take(state: State, prefix: str) -> Encoder:
    is_vit = any(key.startswith(f"{prefix}patch_embed.") for key in state.entries)
    rename = mmselfsup_vit.rename if is_vit else str
    return sort(state, prefix=prefix, inside=HEAD, outside=OUTSIDE, rename=rename)


def _raw_weights(tree: Any) -> State | None:
    """Return the weights before averaging, where an EMAHook kept them."""
    raw = tree.get("ema_state_dict") if isinstance(tree, Mapping) else None
    if not is_state(raw):
        return None
    beside = tuple(str(key) for key in tree if key != "ema_state_dict")
    return unwrapped(raw, beside, ONLINE)


def _hidden(state: State, encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Return what MoCo v3 is known to have beside its shapes."""
    is_mocov3 = any(key.startswith(_MOCOV3) for key in state.entries)
    is_vit = any("pos_embed" in encoder.tensors for encoder in encoders.values())
    return {"heads": _MOCOV3_HEADS} if is_mocov3 and is_vit else {}
