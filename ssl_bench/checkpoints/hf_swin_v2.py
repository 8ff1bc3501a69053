"""A Swin transformer V2 of Hugging Face's transformers, alone or with a head.

Source: ``transformers/models/swinv2/modeling_swinv2.py``. Older files have tables of
coordinates, which show the windows. Version 5 writes none: the producer then says which
of the published windows they are, and ``--arch`` says others. The keys have no bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import hf_swin, recipe, swin_buffers, timm_swin_v2
from ssl_bench.checkpoints.layout import Naming, Producer, Reading, Recipe
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "hf_swin_v2"
PRODUCERS = (
    Producer("transformers", "transformers (Swinv2), windows of 8 (large: 12 to 16)"),
    Producer(
        "transformers_window16",
        "transformers, swinv2-*-window16-256",
        hidden=timm_swin_v2.WINDOW_16,
    ),
    Producer(
        "transformers_window12",
        "transformers, swinv2-*-window12-192",
        hidden=timm_swin_v2.WINDOW_12,
    ),
    Producer(
        "transformers_window12to16",
        "transformers, swinv2-*-window12to16-192to256",
        hidden=timm_swin_v2.WINDOW_12_TO_16,
    ),
    Producer(
        "transformers_window12to24",
        "transformers, swinv2-*-window12to24-192to384",
        hidden=timm_swin_v2.WINDOW_12_TO_24,
    ),
)
_BIASES = {".attn.qkv.bias#0": ".attn.q_bias", ".attn.qkv.bias#2": ".attn.v_bias"}


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the two biases."""
    found = {}
    for name, tensor in tensors.items():
        end = next((old for old in _BIASES if name.endswith(old)), None)
        found[name if end is None else name.removesuffix(end) + _BIASES[end]] = tensor
    return found


def shown(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the windows that older files' tables show, or that the size tells."""
    found = swin_buffers.shown(
        tensors, "encoder.layers.{stage}.blocks.{block}.attention.self."
    )
    stem = tensors.get("embeddings.patch_embeddings.projection.weight")
    return swin_buffers.with_size(found, stem) or timm_swin_v2.of_size(stem)


NAMING = Naming(
    LAYOUT,
    hf_swin.rename,
    anchors=hf_swin.ANCHORS,
    needs=("*.logit_scale",),
    drop=hf_swin.DROP,
    finish=finish,
    shown=shown,
)
RECIPE = Recipe(
    online=("swinv2.", ""),
    outside=hf_swin.RECIPE.outside,
    namings=(LAYOUT,),
)


def read(payload: Payload) -> Reading | None:
    """Read a checkpoint; one with tables leaves nothing for a producer to say."""
    reading = recipe.read_recipe(payload, RECIPE)
    if reading is None:
        return None
    is_told = any(
        one.dropped.get("relative_coords_table") for one in reading.encoders.values()
    )
    return replace(reading, producer=PRODUCERS[0].name) if is_told else reading
