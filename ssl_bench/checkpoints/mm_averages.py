"""Averages in OpenMMLab's files: two hooks of one name, which both swap before saving.

Source: ``mmengine/hooks/ema_hook.py``, which keeps the weights before averaging in
``ema_state_dict``, and ``mmcv/runner/hooks/ema.py`` (1.x), which keeps those of
``backbone.conv1.weight`` as ``ema_backbone_conv1_weight`` among the others. In both
cases ``state_dict`` is the average and is what OpenMMLab's tools evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ssl_bench.checkpoints.layout import EMA, ONLINE, Encoder, Reading
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import State, is_state

BEFORE = "weights before averaging"
_OLD = "ema_"


def relabelled(
    payload: Payload, state: State, read: Callable[[Payload], Reading | None]
) -> Reading | None:
    """Read a file in which a hook has swapped the two copies.

    Args:
        payload: the file.
        state: its state dict.
        read: reads a file in which nothing was swapped.

    Returns:
        The average, and the weights before averaging as the online copy; None if no
        hook was at work, or the file cannot be read.
    """
    raw = payload.tree.get("ema_state_dict")
    if is_state(raw):
        return _both(read(payload), read(replace(payload, tree={"state_dict": raw})))
    olds = {key: f"{_OLD}{key.replace('.', '_')}" for key in state.entries}
    olds = {key: old for key, old in olds.items() if old in state.entries}
    if not olds:
        return None
    hidden = set(olds.values())
    kept = {key: t for key, t in state.entries.items() if key not in hidden}
    raw = {key: state.entries[olds.get(key, key)] for key in kept}
    average = _without(read(_with(payload, kept)), state, hidden, {})
    before = _without(read(_with(payload, raw)), state, set(olds), olds)
    return _both(average, before)


def _with(payload: Payload, state: Mapping[str, Any]) -> Payload:
    return replace(payload, tree={**payload.tree, "state_dict": state})


def _both(average: Reading | None, before: Reading | None) -> Reading | None:
    """Put two readings of an online copy under their true names."""
    if average is None or ONLINE not in average.encoders:
        return None
    encoders = {EMA: average.encoders[ONLINE]}
    if before is not None and ONLINE in before.encoders:
        encoders[ONLINE] = before.encoders[ONLINE]
    return replace(average, encoders=encoders, default=EMA)


def _without(
    reading: Reading | None, state: State, left: set[str], olds: Mapping[str, str]
) -> Reading | None:
    """Say which keys of the file one copy is made of, and which it leaves out."""
    if reading is None:
        return None

    def own(encoder: Encoder) -> Encoder:
        there = {key: state.names[olds.get(key, key)] for key in state.entries}
        names = {
            name: tuple(there.get(key, key) for key in keys)
            for name, keys in encoder.names.items()
        }
        dropped = {
            rule: tuple(there.get(key, key) for key in keys)
            for rule, keys in encoder.dropped.items()
        }
        other = BEFORE if not olds else "averaged weights"
        dropped[other] = tuple(state.names[key] for key in sorted(left))
        return replace(encoder, names=names, dropped=dropped)

    encoders = {label: own(encoder) for label, encoder in reading.encoders.items()}
    return replace(reading, encoders=encoders)
