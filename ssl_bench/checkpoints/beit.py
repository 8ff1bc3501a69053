"""A BEiT in the names of its official code, which are timm's too.

Source: ``microsoft/unilm`` ``beit/modeling_pretrain.py``, ``beit/modeling_finetune.py``
and ``beit2/modeling_pretrain.py`` (whose ``cls_pt_layers`` only serve pre-training).
Pre-training has one table of relative positions for all blocks, which is kept as it is;
fine-tuned networks have one in every block, and norm the mean of the patches. The older
weights were made for images scaled from -1 to 1.
"""

from __future__ import annotations

import re

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "beit"
PRODUCERS = (
    Producer(
        "beit",
        "microsoft/unilm BEiT",
        input=InputSpec((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    Producer("beitv2", "microsoft/unilm BEiT v2, timm's conversions of it"),
    Producer("data2vec", "facebookresearch/data2vec_vision"),
)

TABLE = "relative_position_bias_table"
TOP = spelled(
    same("cls_token", "pos_embed", "patch_embed.proj.{}", f"rel_pos_bias.{TABLE}"),
    same("norm.{}", "fc_norm.{}"),
)
IN_BLOCK = spelled(
    same("attn.q_bias", "attn.v_bias", f"attn.{TABLE}", "gamma_1", "gamma_2"),
    same("attn.qkv.weight", "attn.proj.{}", "norm1.{}", "norm2.{}"),
    same("mlp.fc1.{}", "mlp.fc2.{}"),
)
NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"blocks\.(\d+)\.(.+)")),
    anchors=(
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.0.norm1.weight",
    ),
    needs=("*.q_bias", "*.v_bias", f"*.{TABLE}"),
    lacks=("reg_token",),
    drop={
        "computed from the window": ("*.relative_position_index",),
        "mask token": ("mask_token",),
        "prediction of visual words": ("lm_head.", "cls_pt_layers.", "cls_pt_norm."),
    },
)
