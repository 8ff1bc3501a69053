"""A vision transformer in torchvision's own names.

Source: ``torchvision.models.vision_transformer``. Query, key and value lie in one
matrix in the order in which timm keeps them, so that renaming is enough.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "torchvision_vit"
PRODUCERS = (Producer("torchvision", "torchvision"),)

TOP = {
    "class_token": "cls_token",
    "encoder.pos_embedding": "pos_embed",
    "conv_proj.weight": "patch_embed.proj.weight",
    "conv_proj.bias": "patch_embed.proj.bias",
    "encoder.ln.weight": "norm.weight",
    "encoder.ln.bias": "norm.bias",
}
IN_BLOCK = {
    "ln_1.": "norm1.",
    "ln_2.": "norm2.",
    "self_attention.in_proj_": "attn.qkv.",
    "self_attention.out_proj.": "attn.proj.",
    "mlp.0.": "mlp.fc1.",
    "mlp.3.": "mlp.fc2.",
    "mlp.linear_1.": "mlp.fc1.",
    "mlp.linear_2.": "mlp.fc2.",
}
_BLOCK = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)")


def rename(key: str) -> str | None:
    """Return timm's name of a tensor; None for others."""
    found = _BLOCK.fullmatch(key)
    if not found:
        return TOP.get(key)
    for theirs, ours in IN_BLOCK.items():
        rest = found[2].removeprefix(theirs)
        if rest in ("weight", "bias"):
            return f"blocks.{found[1]}.{ours}{rest}"
    return None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "conv_proj.weight",
        "encoder.layers.encoder_layer_0.ln_1.weight",
        "encoder.pos_embedding",
    ),
)
