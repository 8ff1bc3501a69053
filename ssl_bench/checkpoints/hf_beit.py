"""A BEiT in Hugging Face's names.

Source: ``transformers`` ``models/beit``, as ``save_pretrained`` writes it and as
version 5 names it in memory. The norms add 1e-12. A network for masked images keeps its
last norm outside of the encoder; it belongs to it in the official code and here.
Microsoft's weights were made for images scaled from -1 to 1.
"""

from __future__ import annotations

import re

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints import hf_vit
from ssl_bench.checkpoints.layout import HEAD, Naming, Producer, Recipe
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "hf_beit"
PRODUCERS = (
    Producer(
        "huggingface",
        "Hugging Face BEiT",
        input=InputSpec((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
)

TABLE = "relative_position_bias_table"
_INNER = spelled(
    {
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection.{}": "patch_embed.proj.{}",
        f"encoder.relative_position_bias.{TABLE}": f"rel_pos_bias.{TABLE}",
        f"shared_position_bias.{TABLE}": f"rel_pos_bias.{TABLE}",
        "layernorm.{}": "norm.{}",
        "pooler.layernorm.{}": "fc_norm.{}",
    }
)
TOP = {**_INNER, **{f"beit.{theirs}": ours for theirs, ours in _INNER.items()}}
_PROJECTIONS = {name: new for name, new in hf_vit.QKV.items() if "bias#" not in new}
IN_BLOCK = (
    _PROJECTIONS
    | hf_vit.MLP
    | spelled(
        same(),
        {
            "attention.attention.query.bias": "attn.q_bias",
            "attention.attention.value.bias": "attn.v_bias",
            "attention.q_proj.bias": "attn.q_bias",
            "attention.v_proj.bias": "attn.v_bias",
            f"attention.attention.relative_position_bias.{TABLE}": f"attn.{TABLE}",
            f"relative_position_bias.{TABLE}": f"attn.{TABLE}",
            "lambda_1": "gamma_1",
            "lambda_2": "gamma_2",
            "layernorm_before.{}": "norm1.{}",
            "layernorm_after.{}": "norm2.{}",
        },
    )
)
NAMING = Naming(
    LAYOUT,
    NameTable(
        TOP,
        IN_BLOCK,
        re.compile(r"(?:beit\.)?(?:encoder\.layer|layers)\.(\d+)\.([a-z].+)"),
    ),
    anchors=tuple(
        f"{prefix}embeddings.{name}"
        for prefix in ("", "beit.")
        for name in (
            "cls_token",
            "patch_embeddings.projection.weight",
            "patch_embeddings.projection.bias",
        )
    ),
    needs=("*.lambda_1", f"*.{TABLE}"),
    drop={
        "computed from the window": ("*.relative_position_index",),
        "mask token": ("*.embeddings.mask_token",),
        "prediction of visual words": ("lm_head.",),
    },
    hidden={"eps": 1e-12},
)
RECIPE = Recipe(inside=HEAD, namings=(LAYOUT,))
