"""A Swin transformer of Hugging Face's transformers, alone or with a head.

Source: ``transformers/models/swin/modeling_swin.py``. Hub files have
``attention.self.query`` and ``intermediate.dense``; from version 5 on, a V1 in memory
has ``attention.q_proj`` and ``mlp.fc1``. Queries, keys and values are apart. Merging
patches ends a stage.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints import swin_buffers
from ssl_bench.checkpoints.layout import Naming, Producer, Recipe, Rules

LAYOUT = "hf_swin"
PRODUCERS = (Producer("transformers", "transformers (Swin)"),)

TOP = {
    "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
    "embeddings.norm.": "patch_embed.norm.",
    "layernorm.": "norm.",
}
IN_BLOCK = {
    "layernorm_before.": "norm1.",
    "layernorm_after.": "norm2.",
    "attention.output.dense.": "attn.proj.",
    "attention.o_proj.": "attn.proj.",
    "intermediate.dense.": "mlp.fc1.",
    "mlp.fc1.": "mlp.fc1.",
    "output.dense.": "mlp.fc2.",
    "mlp.fc2.": "mlp.fc2.",
    "attention.self.continuous_position_bias_mlp.0.": "attn.cpb_mlp.0.",
}
ALONE = {
    "attention.self.relative_position_bias_table": "attn.relative_position_bias_table",
    "attention.relative_position_bias.relative_position_bias_table": (
        "attn.relative_position_bias_table"
    ),
    "attention.self.logit_scale": "attn.logit_scale",
    "attention.self.continuous_position_bias_mlp.2.weight": "attn.cpb_mlp.2.weight",
}
PARTS = {"query": 0, "key": 1, "value": 2, "q_proj": 0, "k_proj": 1, "v_proj": 2}
_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGE = re.compile(
    r"encoder\.layers\.(\d+)\.downsample\.(norm\.(?:weight|bias)|reduction\.weight)"
)
_PART = re.compile(
    r"attention\.(?:self\.(query|key|value)|([qkv]_proj))\.(weight|bias)"
)
ANCHORS = (
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.norm.weight",
    "encoder.layers.0.blocks.0.layernorm_before.weight",
)
DROP: Rules = {**swin_buffers.DROP, "mask_token": ("embeddings.mask_token",)}


def rename(key: str) -> str | None:
    """Return timm's name of a tensor; None for others."""
    if key == "embeddings.position_embeddings":
        return "absolute_pos_embed"
    merge = _MERGE.fullmatch(key)
    if merge:
        return f"layers.{int(merge[1]) + 1}.downsample.{merge[2]}"
    block = _BLOCK.fullmatch(key)
    start = f"layers.{block[1]}.blocks.{block[2]}." if block else ""
    rest = block[3] if block else key
    part = _PART.fullmatch(rest) if block else None
    if part:
        return f"{start}attn.qkv.{part[3]}#{PARTS[part[1] or part[2]]}"
    if block and rest in ALONE:
        return start + ALONE[rest]
    for theirs, ours in (IN_BLOCK if block else TOP).items():
        if rest in (f"{theirs}weight", f"{theirs}bias"):
            return start + ours + rest[len(theirs) :]
    return None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=ANCHORS,
    needs=("encoder.layers.0.blocks.",),
    lacks=("*.logit_scale",),
    drop=DROP,
)
RECIPE = Recipe(
    online=("swin.", ""),
    outside={"head": ("classifier.",), "decoder": ("decoder.",)},
    namings=(LAYOUT,),
)
