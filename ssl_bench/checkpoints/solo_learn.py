"""Checkpoints of solo-learn: a backbone, maybe its momentum copy, and a classifier.

Source: ``vturrisi/solo-learn`` (PyPI ``solo-learn`` 1.0.2 and later), ``solo/methods``
and ``solo/backbones``. Version 1.0.2 and before say ``encoder`` where later ones say
``backbone``. Every method trains a linear ``classifier`` beside the backbone. For CIFAR
the stem is a 3x3 convolution that pads by 2. The transformers of its MoCo v3 and MAE
have 12 heads up to the base size and 16 beyond; the two are known by the projector
without biases and by the decoder. It evaluates the trained network, not the momentum
copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.layout import ONLINE, Producer, Reading, Recipe
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.recipe import read_recipe
from ssl_bench.checkpoints.sorting import State, has_any, states

LAYOUT = "solo_learn"
PRODUCERS = (Producer("solo_learn", "vturrisi/solo-learn"),)

RECIPE = Recipe(
    online=("backbone.", "encoder."),
    ema=("momentum_backbone.", "momentum_encoder."),
    containers={"state_dict": ONLINE},
    needs=(("classifier.",),),
    outside={
        "classifier": ("classifier.", "momentum_classifier."),
        "projector": ("projector.", "momentum_projector."),
        "predictor": ("predictor.", "predictor2."),
        "head": ("head.", "momentum_head."),
        "decoder": ("decoder.",),
        "prototypes": ("prototypes.",),
        "transformer over neighbours": ("transformer_encoder.", "pos_enc."),
        "queue": ("queue", "queue_ptr", "queue_y", "queue_index"),
        "memory": ("local_memory_index", "local_memory_embeddings", "conversion_map."),
        "centre": ("dino_loss_func.",),
    },
)
CIFAR_KERNEL = 3
CIFAR_PADDING = 2
FEW_HEADS, MANY_HEADS = 12, 16
LARGEST_WITH_FEW = 768


def read(payload: Payload) -> Reading | None:
    """Read a checkpoint of solo-learn."""
    reading = read_recipe(payload, RECIPE)
    if reading is None:
        return None
    state = next(states(payload, RECIPE.containers))
    tensors = reading.encoders[reading.default].tensors
    hidden = {**_stem(tensors), **_heads(tensors, state)}
    return replace(reading, hidden={**reading.hidden, **hidden})


def _stem(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the padding of the stem for CIFAR."""
    stem = tensors.get("conv1.weight")
    is_cifar = stem is not None and stem.shape[-1] == CIFAR_KERNEL
    return {"padding": CIFAR_PADDING} if is_cifar else {}


def _heads(tensors: Mapping[str, Tensor], state: State) -> dict[str, Any]:
    """Return the heads of the transformers that do not have the usual number."""
    place = tensors.get("pos_embed")
    is_mocov3 = has_any(state.entries, ("momentum_projector.0.weight",)) and not (
        has_any(state.entries, ("momentum_projector.0.bias",))
    )
    if place is None or not (is_mocov3 or has_any(state.entries, ("decoder.",))):
        return {}
    return {"heads": FEW_HEADS if place.shape[-1] <= LARGEST_WITH_FEW else MANY_HEADS}
