"""A Swin transformer V2 in OpenMMLab's names: merging patches begins a stage.

Source: ``mmpretrain/models/backbones/swin_transformer_v2.py``, with the merging of a V1
and its norm behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import mm_swin, swin_buffers
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "mm_swin_v2"
PRODUCERS = (Producer("mmpretrain", "MMPretrain (Swin V2)"),)

_MERGE = re.compile(r"stages\.(\d+)(\.downsample\..+)")


def rename(key: str) -> str | None:
    """Return timm's name of a tensor; None for others."""
    ours = mm_swin.rename(key)
    merge = _MERGE.fullmatch(key)
    return f"layers.{merge[1]}{merge[2]}" if ours and merge else ours


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the channels that are merged in everybody's order."""
    return {
        name: mm_swin.by_pixel(tensor) if name.endswith(".reduction.weight") else tensor
        for name, tensor in tensors.items()
    }


def shown(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the windows that the tables show, and the size of images they fill."""
    found = swin_buffers.shown(tensors, "stages.{stage}.blocks.{block}.attn.w_msa.")
    return swin_buffers.with_size(found, tensors.get("patch_embed.projection.weight"))


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=mm_swin.ANCHORS,
    needs=("*.logit_scale",),
    drop=mm_swin.DROP,
    finish=finish,
    shown=shown,
)
