"""A Swin transformer in torchvision's names, V1.

Source: ``torchvision.models.swin_transformer``. ``features`` holds the stem, the stages
and the merging of patches in turn, so that merging has a number of its own.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints import swin_buffers
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "torchvision_swin"
PRODUCERS = (Producer("torchvision", "torchvision (Swin V1)"),)

STEM = {"features.0.0.": "patch_embed.proj.", "features.0.2.": "patch_embed.norm."}
_BLOCK = re.compile(
    r"features\.(\d*[13579])\.(\d+)\.(?:"
    r"((?:norm[12]|attn\.qkv|attn\.proj|attn\.cpb_mlp\.0)\.(?:weight|bias)"
    r"|attn\.cpb_mlp\.2\.weight|attn\.relative_position_bias_table|attn\.logit_scale)"
    r"|mlp\.([03])\.(weight|bias))"
)
_MERGE = re.compile(r"features\.([1-9]\d*)\.(norm\.(?:weight|bias)|reduction\.weight)")


def rename(key: str) -> str | None:
    """Return timm's name of a tensor; None for others."""
    if key in ("norm.weight", "norm.bias"):
        return key
    for theirs, ours in STEM.items():
        if key in (f"{theirs}weight", f"{theirs}bias"):
            return ours + key[len(theirs) :]
    merge = _MERGE.fullmatch(key)
    if merge and int(merge[1]) % 2 == 0:
        return f"layers.{int(merge[1]) // 2}.downsample.{merge[2]}"
    block = _BLOCK.fullmatch(key)
    if not block:
        return None
    stage, index, rest, layer, kind = block.groups()
    if layer:
        rest = f"mlp.fc{1 if layer == '0' else 2}.{kind}"
    return f"layers.{int(stage) // 2}.blocks.{index}.{rest}"


ANCHORS = (
    "features.0.0.weight",
    "features.1.0.attn.qkv.weight",
    "features.2.reduction.weight",
)
NAMING = Naming(
    LAYOUT, rename, anchors=ANCHORS, lacks=("*.logit_scale",), drop=swin_buffers.DROP
)
