"""A vision transformer in torchvision's own names.

Source: ``torchvision.models.vision_transformer``. Query, key and value lie in one
matrix in the order in which timm keeps them, so that renaming is enough.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Reading, Rules, read_flat
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "torchvision_vit"
PRODUCERS = ("torchvision",)
SIGNATURE = ("conv_proj.weight", "encoder.layers.encoder_layer_0.ln_1.weight")
HEAD: Rules = {"head": ("heads.",)}

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


def rename(key: str) -> str:
    """Return timm's name of a tensor; unknown names pass unchanged."""
    found = _BLOCK.fullmatch(key)
    if not found:
        return TOP.get(key, key)
    for theirs, ours in IN_BLOCK.items():
        if found[2].startswith(theirs):
            return f"blocks.{found[1]}.{ours}{found[2][len(theirs) :]}"
    return key


def read(payload: Payload) -> Reading | None:
    """Read torchvision's transformer."""
    return read_flat(payload, SIGNATURE, inside=HEAD, rename=rename)
