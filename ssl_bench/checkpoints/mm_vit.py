"""A vision transformer in OpenMMLab's names, already extracted.

Source: ``mmcls.models.VisionTransformer`` and its successor in MMPretrain, whose
subclasses for MAE, MoCo v3 and DINOv2 keep the names. ``ln1`` at the top is the norm of
the tokens, ``ln2`` that of the patch mean. MoCo v3's have 12 heads at any width.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "mm_vit"
PRODUCERS = (
    Producer("mmpretrain", "MMPretrain, MMClassification"),
    Producer("mmselfsup", "files extracted by MMSelfSup"),
    Producer("mocov3", "MoCo v3 of MMSelfSup and MMPretrain", hidden={"heads": 12}),
)

TOP = spelled(
    same("cls_token", "pos_embed"),
    {
        "patch_embed.projection.{}": "patch_embed.proj.{}",
        "pre_norm.{}": "norm_pre.{}",
        "ln1.{}": "norm.{}",
        "ln2.{}": "fc_norm.{}",
    },
)
IN_BLOCK = spelled(
    same("attn.qkv.{}", "attn.proj.{}"),
    {
        "ln1.{}": "norm1.{}",
        "ln2.{}": "norm2.{}",
        "attn.gamma1.weight": "ls1.gamma",
        "ffn.layers.0.0.{}": "mlp.fc1.{}",
        "ffn.layers.1.{}": "mlp.fc2.{}",
        "ffn.w12.{}": "mlp.fc1.{}",
        "ffn.w3.{}": "mlp.fc2.{}",
        "ffn.gamma2.weight": "ls2.gamma",
    },
)
NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"layers\.(\d+)\.(.+)")),
    anchors=(
        "patch_embed.projection.weight",
        "layers.0.ln1.weight",
        "layers.0.attn.qkv.weight",
    ),
    lacks=("*.q_bias", "*.v_bias", "*.relative_position_bias_table"),
)
