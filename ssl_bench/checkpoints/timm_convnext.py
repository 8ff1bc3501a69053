"""ConvNeXt of either version in timm's names, which are ours.

Source: timm's ``ConvNeXt``; those with ``conv_mlp`` have 1x1 convolutions where others
have linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.convnext import AFFINE, finish
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "timm_convnext"
PRODUCERS = (Producer("timm", "timm"),)
XXLARGE = {"eps": 1e-5}
XXLARGE_WIDTH = 384
"""Channels of the first stage of the one size that has another eps in timm."""

_KEY = re.compile(
    rf"stem\.[01]\.{AFFINE}|stages\.[0-3]\.downsample\.[01]\.{AFFINE}"
    r"|stages\.[0-3]\.blocks\.\d+\.(?:gamma"
    rf"|(?:conv_dw|norm|mlp\.fc1|mlp\.fc2|mlp\.grn)\.{AFFINE})|head\.norm\.{AFFINE}"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor, which is the same; None for others."""
    return key if _KEY.fullmatch(key) else None


def shown(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the eps, which only the size tells."""
    stem = tensors.get("stem.0.weight")
    is_largest = stem is not None and stem.shape[0] == XXLARGE_WIDTH
    return dict(XXLARGE) if is_largest else {}


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "stem.0.weight",
        "stages.0.blocks.0.conv_dw.weight",
        "stages.3.blocks.0.conv_dw.weight",
        "stages.0.blocks.0.mlp.fc1.weight",
    ),
    needs=("*.conv_dw.weight",),
    finish=finish,
    shown=shown,
)
