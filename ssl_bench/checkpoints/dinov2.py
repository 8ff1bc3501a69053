"""DINOv2's backbone in the names of its official code.

Source: ``facebookresearch/dinov2`` ``dinov2/models/vision_transformer.py``, the files
of its hub and of ``dinov2/train``. The blocks may be chunked (``blocks.2.7.``): the
last number counts through all chunks. The gated MLP of the giant is ``w12`` (gate and
value in one matrix) and ``w3``. With registers, the class token's position becomes part
of it, as timm has it.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints import timm_vit
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.name_table import (
    NameTable,
    fold_class_position,
    same,
    spelled,
)

LAYOUT = "dinov2"
PRODUCERS = (Producer("dinov2", "facebookresearch/dinov2"),)

TOP = spelled(
    same("cls_token", "pos_embed", "patch_embed.proj.{}", "norm.{}"),
    {"register_tokens": "reg_token"},
)
IN_BLOCK = timm_vit.IN_BLOCK | spelled(
    {"mlp.w12.{}": "mlp.fc1.{}", "mlp.w3.{}": "mlp.fc2.{}"}
)
NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"blocks\.(?:\d+\.)?(\d+)\.([a-z].+)")),
    anchors=(
        "patch_embed.proj.weight",
        "cls_token",
        "pos_embed",
    ),
    needs=("mask_token", "register_tokens"),
    lacks=(
        "decoder_embed.",
        "pred_head.",
        "head.projection.",
        "rope_embed.",
        "*.q_bias",
        "*.relative_position_bias_table",
    ),
    drop={"mask token": ("mask_token",)},
    finish=fold_class_position,
)
