"""Checkpoints of MMSelfSup 0.x and 1.x and of MMPretrain, with their prefixes.

Source: ``mmselfsup/models/algorithms`` of both lines. The backbone is ``backbone.``;
0.x algorithms with two encoders name it a second time (``encoder_q.0.`` and so on), as
an alias of the same tensors. Where an EMAHook swapped the copies at saving time, the
average is what lies in ``state_dict``, and the default here too: `mm_averages`.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ssl_bench.checkpoints import mm_averages
from ssl_bench.checkpoints.layout import HEAD, ONLINE, Producer, Reading, Recipe
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.recipe import read_recipe
from ssl_bench.checkpoints.sorting import State, has_any, states
from ssl_bench.errors import CheckpointError

LAYOUT = "mmselfsup"
PRODUCERS = (
    Producer("mmselfsup", "MMSelfSup 0.x and 1.x, OpenSelfSup"),
    Producer("mmpretrain", "MMPretrain, MMClassification"),
)

BACKBONE = "backbone."
ALIASES = ("encoder_q.0.", "online_net.0.", "encoder.0.", "base_encoder.0.")
RECIPE = Recipe(
    online=(BACKBONE, *ALIASES),
    ema=(
        "encoder_k.0.",
        "encoder_k.module.0.",
        "target_net.0.",
        "target_net.module.0.",
        "momentum_encoder.0.",
        "momentum_encoder.module.0.",
        "teacher.",
    ),
    containers={"state_dict": ONLINE},
    outside={
        "neck": ("neck.",),
        "head": ("head.",),
        "data_preprocessor": ("data_preprocessor.",),
        "queue": ("queue", "queue_ptr", "queue2", "queue2_ptr", "memory_bank."),
        "target_generator": ("target_generator.", "hog_layer."),
        "sobel_layer": ("sobel_layer.",),
        "densification": ("enc_dec_norms.", "enc_dec_projectors.", "mask_tokens."),
        "neck of an encoder": (
            "encoder_q.1.",
            "encoder_k.1.",
            "encoder_k.module.1.",
            "encoder_k.steps",
            "online_net.1.",
            "target_net.1.",
            "target_net.module.1.",
            "target_net.steps",
            "encoder.1.",
            "base_encoder.1.",
            "momentum_encoder.1.",
            "momentum_encoder.module.1.",
            "momentum_encoder.steps",
        ),
    },
    inside={
        **HEAD,
        "mask token": ("mask_token",),
        "fusion of layers": ("proj_weights", "proj_layers."),
    },
)
_OTHERS = ("pytorch-lightning_version",)
"""What other frameworks write beside a state dict, and OpenMMLab's never."""

_MOCOV3 = ("base_encoder.", "momentum_encoder.")
_MOCOV3_HEADS = 12
"""MoCo v3 gives its small transformer 12 heads, which no shape shows."""


def read(payload: Payload) -> Reading | None:
    """Read a training checkpoint of OpenMMLab's self-supervised algorithms."""
    reading = read_recipe(payload, RECIPE)
    if reading is None:
        return None
    state = next(states(payload, RECIPE.containers))
    if has_any(state.beside, _OTHERS):
        return None
    if ONLINE in reading.encoders:
        _check_aliases(state)
    averaged = mm_averages.relabelled(payload, state, _read)
    reading = averaged or reading
    is_mocov3 = has_any(state.entries, _MOCOV3)
    hidden = {"heads": _MOCOV3_HEADS} if is_mocov3 else {}
    return replace(reading, hidden={**reading.hidden, **hidden})


def _read(payload: Payload) -> Reading | None:
    return read_recipe(payload, RECIPE)


def _check_aliases(state: State) -> None:
    """Refuse a file in which the second name of the backbone holds other numbers."""
    main = next(p for p in RECIPE.online if any(k.startswith(p) for k in state.entries))
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
    """Compare bit by bit in effect: NaN equals NaN, and the load gate reports it.

    An inspection has shapes only, and can say no more than that these agree.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_meta or other.is_meta:
        return True
    same = one == other
    if one.is_floating_point():
        same |= one.isnan() & other.isnan()
    return bool(same.all())
