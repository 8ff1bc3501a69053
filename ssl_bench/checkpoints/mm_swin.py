"""A Swin transformer V1 in OpenMMLab's names: merging patches ends a stage.

Source: ``mmpretrain/models/backbones/swin_transformer.py``. Patches are merged by
``nn.Unfold``, which puts the four pixels of a channel side by side; everybody else puts
the channels of a pixel side by side. Backbones of detectors have a norm after every
stage, of which the last is that of the feature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ssl_bench.checkpoints import swin_buffers
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "mm_swin"
PRODUCERS = (
    Producer("mmpretrain", "MMPretrain, MMClassification (V1)"),
    Producer("mmdet", "MMDetection, MMSegmentation"),
)

TOP = {
    "patch_embed.projection.": "patch_embed.proj.",
    "patch_embed.norm.": "patch_embed.norm.",
    "norm3.": "norm.",
}
IN_BLOCK = {
    "norm1.": "norm1.",
    "norm2.": "norm2.",
    "attn.w_msa.qkv.": "attn.qkv.",
    "attn.w_msa.proj.": "attn.proj.",
    "attn.w_msa.cpb_mlp.0.": "attn.cpb_mlp.0.",
    "ffn.layers.0.0.": "mlp.fc1.",
    "ffn.layers.1.": "mlp.fc2.",
}
ALONE = {
    f"attn.w_msa.{name}": f"attn.{name}"
    for name in (
        "relative_position_bias_table",
        "logit_scale",
        "q_bias",
        "v_bias",
        "cpb_mlp.2.weight",
    )
}
_BLOCK = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGE = re.compile(
    r"stages\.(\d+)\.downsample\.(norm\.(?:weight|bias)|reduction\.weight)"
)
_PIXELS = 4
_EDGE = 2


def rename(key: str) -> str | None:
    """Return timm's name of a tensor, None for others."""
    if key == "absolute_pos_embed":
        return key
    merge = _MERGE.fullmatch(key)
    if merge:
        return f"layers.{int(merge[1]) + 1}.downsample.{merge[2]}"
    block = _BLOCK.fullmatch(key)
    if not block:
        return _within(key, TOP, "")
    start = f"layers.{block[1]}.blocks.{block[2]}."
    if block[3] in ALONE:
        return start + ALONE[block[3]]
    return _within(block[3], IN_BLOCK, start)


def _within(key: str, table: Mapping[str, str], start: str) -> str | None:
    """Rename a weight or a bias by the module that has it."""
    for theirs, ours in table.items():
        if key in (f"{theirs}weight", f"{theirs}bias"):
            return start + ours + key[len(theirs) :]
    return None


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the channels that are merged in everybody's order."""
    return {
        name: by_pixel(tensor) if ".downsample." in name else tensor
        for name, tensor in tensors.items()
    }


def by_pixel(tensor: Tensor) -> Tensor:
    """Reorder the last axis from (channel, row, column) to (column, row, channel)."""
    if not tensor.ndim or tensor.shape[-1] % _PIXELS:
        return tensor
    split = tensor.reshape(*tensor.shape[:-1], -1, _EDGE, _EDGE)
    return split.transpose(-1, -3).flatten(-3).contiguous()


DROP = {**swin_buffers.DROP, "norms of other maps": ("norm0.", "norm1.", "norm2.")}
ANCHORS = (
    "patch_embed.projection.weight",
    "stages.0.blocks.0.attn.w_msa.qkv.weight",
    "norm3.weight",
)
NAMING = Naming(
    LAYOUT,
    rename,
    anchors=ANCHORS,
    lacks=("*.logit_scale",),
    drop=DROP,
    finish=finish,
)
