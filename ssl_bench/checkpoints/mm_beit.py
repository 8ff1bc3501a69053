"""A BEiT in OpenMMLab's names, already extracted; CAE's encoder has them too.

Source: ``mmpretrain.models.BEiTViT`` and the encoders of its BEiT and CAE. The layers
are named as those of a ViT, the scales as in the official code. CAE adds fixed
positions to the tokens and has no relative ones.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints import mm_vit
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "mm_beit"
PRODUCERS = (Producer("mmpretrain", "MMPretrain, MMSelfSup: BEiT, CAE"),)

TABLE = "relative_position_bias_table"
IN_BLOCK = spelled(
    same("attn.q_bias", "attn.v_bias", f"attn.{TABLE}", "gamma_1", "gamma_2"),
    same("attn.qkv.weight", "attn.proj.{}"),
    {
        "ln1.{}": "norm1.{}",
        "ln2.{}": "norm2.{}",
        "ffn.layers.0.0.{}": "mlp.fc1.{}",
        "ffn.layers.1.{}": "mlp.fc2.{}",
    },
)
NAMING = Naming(
    LAYOUT,
    NameTable(
        {**mm_vit.TOP, **same(f"rel_pos_bias.{TABLE}")},
        IN_BLOCK,
        re.compile(r"layers\.(\d+)\.(.+)"),
    ),
    anchors=(
        "patch_embed.projection.weight",
        "layers.0.ln1.weight",
        "layers.0.attn.qkv.weight",
    ),
    needs=("*.q_bias", "*.v_bias", f"*.{TABLE}"),
    drop={
        "computed from the window": ("*.relative_position_index",),
        "mask token": ("mask_token",),
    },
)
