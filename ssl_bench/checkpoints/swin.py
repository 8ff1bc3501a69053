"""A Swin transformer in its authors' names: merging patches ends a stage.

Source: ``microsoft/Swin-Transformer:models/swin_transformer.py`` and
``swin_transformer_v2.py`` (V2), whose names EsViT and timm up to 0.8 share.
``layers.0.downsample`` leads to stage 1, where timm now puts it. Indices, masks and
coordinates are computed again; masks show the size of the images, and coordinates the
windows of a V2 now and in earlier training. timm kept no coordinates: where its V2 was
trained on smaller windows before, ``--arch`` has to say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import swin_buffers
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "swin"
PRODUCERS = (
    Producer("swin", "microsoft/Swin-Transformer (V1, V2)"),
    Producer("simmim", "microsoft/SimMIM, fine-tuned"),
    Producer("esvit", "microsoft/esvit, extracted"),
    Producer("timm", "timm up to 0.8"),
)

_TENSOR = re.compile(
    r"patch_embed\.(?:proj|norm)\.(?:weight|bias)|norm\.(?:weight|bias)"
    r"|absolute_pos_embed"
    r"|layers\.\d+\.blocks\.\d+\.(?:"
    r"(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12]|attn\.cpb_mlp\.0)\.(?:weight|bias)"
    r"|attn\.cpb_mlp\.2\.weight"
    r"|attn\.(?:relative_position_bias_table|logit_scale|q_bias|v_bias))"
    r"|layers\.\d+\.downsample\.(?:norm\.(?:weight|bias)|reduction\.weight)"
)
_MERGE = re.compile(r"layers\.(\d+)(\.downsample\..+)")


def is_tensor(key: str) -> bool:
    """Tell whether a Swin transformer has a tensor of this name, in any stage."""
    return _TENSOR.fullmatch(key) is not None


def rename(key: str) -> str | None:
    """Return timm's name of a tensor; None for others."""
    if not is_tensor(key):
        return None
    merge = _MERGE.fullmatch(key)
    return f"layers.{int(merge[1]) + 1}{merge[2]}" if merge else key


def shown(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the size of the images and the windows that masks and indices show."""
    return swin_buffers.shown(tensors, "layers.{stage}.blocks.{block}.attn.")


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "patch_embed.proj.weight",
        "layers.0.blocks.0.attn.qkv.weight",
        "layers.0.downsample.reduction.weight",
    ),
    needs=("layers.0.downsample.",),
    drop=swin_buffers.DROP,
    shown=shown,
)
