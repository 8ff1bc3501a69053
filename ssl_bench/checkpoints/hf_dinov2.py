"""DINOv2 in Hugging Face's names, with and without registers.

Source: ``transformers`` ``models/{dinov2,dinov2_with_registers}``, as
``save_pretrained`` writes them and as version 5 names them in memory. Gate and value of
the gated MLP lie in one matrix, the gate first. With registers, the class token's
position becomes part of it, as timm has it.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints import hf_vit
from ssl_bench.checkpoints.layout import HEAD, Naming, Producer, Recipe
from ssl_bench.checkpoints.name_table import (
    NameTable,
    fold_class_position,
    same,
    spelled,
)

LAYOUT = "hf_dinov2"
PRODUCERS = (Producer("huggingface", "Hugging Face DINOv2"),)

IN_BLOCK = hf_vit.QKV | spelled(
    same("norm1.{}", "norm2.{}", "mlp.fc1.{}", "mlp.fc2.{}"),
    {
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
        "mlp.weights_in.{}": "mlp.fc1.{}",
        "mlp.weights_out.{}": "mlp.fc2.{}",
        "mlp.gate_proj.{}": "mlp.fc1.{}#0",
        "mlp.up_proj.{}": "mlp.fc1.{}#1",
        "mlp.down_proj.{}": "mlp.fc2.{}",
    },
)
NAMING = Naming(
    LAYOUT,
    NameTable(
        {**hf_vit.TOP, "embeddings.register_tokens": "reg_token"},
        IN_BLOCK,
        re.compile(r"encoder\.layer\.(\d+)\.([a-z].+)"),
    ),
    anchors=(
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "embeddings.patch_embeddings.projection.weight",
    ),
    needs=("*.lambda1",),
    drop={"mask token": ("embeddings.mask_token",)},
    finish=fold_class_position,
)
RECIPE = Recipe(
    online=("dinov2.", "dinov2_with_registers.", ""),
    outside=HEAD,
    namings=(LAYOUT,),
)
