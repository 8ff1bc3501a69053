"""Checkpoints of MaskFeat on images: SlowFast's plain vision transformer.

Source: ``facebookresearch/SlowFast`` ``slowfast/models/masked.py``,
``video_model_builder.py``, ``utils/checkpoint.py`` and
``configs/masked_ssl/in1k_VIT_*``. A pre-trained file has no norm behind the blocks; a
fine-tuned one norms the mean of the patches, where its configuration says
``USE_MEAN_POOLING``. MaskFeat's video networks (MViT) pool inside their attention and
are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ssl_bench.checkpoints import recipe
from ssl_bench.checkpoints.layout import (
    HEAD,
    ONLINE,
    Encoder,
    Producer,
    Reading,
    Recipe,
)
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import states
from ssl_bench.errors import CheckpointError

LAYOUT = "maskfeat"
PRODUCERS = (Producer("maskfeat", "facebookresearch/SlowFast, MaskFeat"),)
RECIPE = Recipe(
    containers={"model_state": ONLINE},
    needs=(("pred_head.", "head.projection."),),
    inside={
        **HEAD,
        "prediction head": ("pred_head.",),
        "targets": ("hogs.",),
        "mask token": ("mask_token",),
    },
    hidden={"pooling": "patch_mean"},
)

_POOLING = re.compile(r"blocks\.\d+\.attn\.(?:pool_[qkv]\.|rel_pos_)")


def read(payload: Payload) -> Reading | None:
    """Read a plain transformer, with the norm where this file's network has it.

    Raises:
        CheckpointError: if it is a multiscale transformer.
    """
    reading = recipe.read_recipe(payload, RECIPE)
    if reading is None:
        return None
    state = next(states(payload, RECIPE.containers))
    _refuse_multiscale(payload.path, state.entries)
    if _says_class_token(payload.tree):
        return replace(reading, hidden={**reading.hidden, "pooling": "class_token"})
    encoders = {name: _norm_last(old) for name, old in reading.encoders.items()}
    return replace(reading, encoders=encoders)


def _refuse_multiscale(path: str, keys: Iterable[str]) -> None:
    found = next((key for key in keys if _POOLING.match(key)), None)
    if found is not None:
        raise CheckpointError(
            f"{path} holds a multiscale transformer (MViT): {found} pools or shifts "
            "inside the attention, and only the plain vision transformers of MaskFeat "
            "can be built"
        )


def _says_class_token(tree: Any) -> bool:
    """Tell whether a fine-tuned file's configuration takes the class token."""
    config = tree.get("cfg")
    return (
        isinstance(config, str)
        and "head.projection.weight" in tree["model_state"]
        and re.search(r"^\s+USE_MEAN_POOLING: false$", config, re.MULTILINE) is not None
    )


def _norm_last(encoder: Encoder) -> Encoder:
    """Rename the norm, which comes after pooling."""

    def renamed(name: str) -> str:
        return f"fc_{name}" if name.startswith("norm.") else name

    return replace(
        encoder,
        tensors={renamed(name): value for name, value in encoder.tensors.items()},
        names={renamed(name): keys for name, keys in encoder.names.items()},
    )
