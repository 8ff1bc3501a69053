"""DINOv3's transformer in Hugging Face's names.

Source: ``transformers`` ``models/dinov3_vit``, as ``save_pretrained`` writes it and as
version 5 names it in memory. ``up_proj`` is the first layer of a plain MLP, and the
value beside the gate of a gated one.
"""

from __future__ import annotations

import re

from torch import Tensor

from ssl_bench.checkpoints.dinov3 import SATELLITE
from ssl_bench.checkpoints.layout import HEAD, Naming, Producer, Recipe
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "hf_dinov3"
PRODUCERS = (
    Producer("huggingface", "Hugging Face DINOv3 (transformer)"),
    Producer(
        "huggingface_satellite",
        "Hugging Face DINOv3, sat493m weights",
        input=SATELLITE,
    ),
)

_UP = "mlp.up_proj."

TOP = spelled(
    same("norm.{}"),
    {
        "embeddings.cls_token": "cls_token",
        "embeddings.register_tokens": "reg_token",
        "embeddings.patch_embeddings.{}": "patch_embed.proj.{}",
    },
)
IN_BLOCK = spelled(
    same("norm1.{}", "norm2.{}", f"{_UP}{{}}"),
    {
        "attention.q_proj.weight": "attn.qkv.weight#0",
        "attention.k_proj.weight": "attn.qkv.weight#1",
        "attention.v_proj.weight": "attn.qkv.weight#2",
        "attention.q_proj.bias": "attn.q_bias",
        "attention.v_proj.bias": "attn.v_bias",
        "attention.o_proj.{}": "attn.proj.{}",
        "layer_scale1.lambda1": "gamma_1",
        "layer_scale2.lambda1": "gamma_2",
        "mlp.gate_proj.{}": "mlp.fc1_g.{}",
        "mlp.down_proj.{}": "mlp.fc2.{}",
    },
)


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name ``up_proj`` by what it is."""
    gated = any(".mlp.fc1_g." in name for name in tensors)
    ours = "mlp.fc1_x." if gated else "mlp.fc1."
    return {name.replace(_UP, ours): tensor for name, tensor in tensors.items()}


NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"(?:model\.)?layer\.(\d+)\.([a-z].+)")),
    anchors=(
        "embeddings.cls_token",
        "embeddings.register_tokens",
        "embeddings.patch_embeddings.weight",
    ),
    drop={"mask token": ("embeddings.mask_token",)},
    finish=finish,
)
RECIPE = Recipe(online=("dinov3_vit.", ""), outside=HEAD, namings=(LAYOUT,))
