"""A vision transformer in timm's names, with nothing before them.

Source: timm's ``VisionTransformer``; the official DeiT, DINO, iBOT, MSN, I-JEPA and MAE
encoders have its names, and MoCo v3's converter writes them. DeiT's distillation token
is read as a register; layer scales may have DeiT III's and iBOT's older names. Without
positions and biases it is a DINOv3, with a norm before the blocks a tower of CLIP's.
timm's first, supervised weights (``augreg``) were made for images scaled from -1 to 1.
"""

from __future__ import annotations

import re

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "timm_vit"
PRODUCERS = (
    Producer("timm", "timm"),
    Producer(
        "timm_augreg",
        "timm, weights named augreg, and Google's",
        input=InputSpec((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    Producer("deit", "facebookresearch/deit"),
    Producer("mae", "facebookresearch/mae, the encoder alone"),
    Producer("dino", "facebookresearch/dino, the backbone alone"),
    Producer("ibot", "bytedance/ibot, the backbone alone"),
    Producer(
        "mocov3", "facebookresearch/moco-v3, convert_to_deit.py", hidden={"heads": 12}
    ),
)

IN_BLOCK = spelled(
    same("norm1.{}", "norm2.{}", "attn.qkv.{}", "attn.proj.{}", "mlp.fc1.{}"),
    same("mlp.fc2.{}", "attn.q_norm.{}", "attn.k_norm.{}", "ls1.gamma", "ls2.gamma"),
    {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"},
)
TOP = spelled(
    same("cls_token", "pos_embed", "reg_token", "patch_embed.proj.{}"),
    same("norm_pre.{}", "norm.{}", "fc_norm.{}"),
    {"dist_token": "reg_token"},
)
NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"blocks\.(\d+)\.(.+)")),
    anchors=(
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.1.attn.qkv.weight",
    ),
    needs=("pos_embed", "*.qkv.bias"),
    lacks=("norm_pre.", "*.q_bias", "*.v_bias", "*.relative_position_bias_table"),
    drop={"layer before the classifier": ("pre_logits.",)},
)
