"""ConvNeXt of either version in the names of MMPretrain.

Source: open-mmlab/mmpretrain ``mmpretrain/models/backbones/convnext.py``. Its default
norms the pooled map, as the official networks do; norms of earlier stages serve dense
tasks.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.convnext import AFFINE, finish, our_name
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "mm_convnext"
PRODUCERS = (Producer("mmpretrain", "files extracted by MMPretrain"),)

_KEY = re.compile(
    rf"downsample_layers\.(?P<down>[0-3])\.(?P<part>[01]\.{AFFINE})"
    rf"|stages\.(?P<stage>[0-3])\.(?P<block>\d+)\.(?:(?P<gamma>gamma)"
    r"|(?P<layer>depthwise_conv|norm|pointwise_conv1|pointwise_conv2)"
    rf"\.(?P<kind>{AFFINE})|grn\.(?P<grn>gamma|beta))"
    rf"|norm3\.(?P<last>{AFFINE})"
)
_LAYERS = {
    "depthwise_conv": "conv_dw",
    "norm": "norm",
    "pointwise_conv1": "mlp.fc1",
    "pointwise_conv2": "mlp.fc2",
}


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no ConvNeXt has."""
    return our_name(_KEY.fullmatch(key), _LAYERS)


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "downsample_layers.0.0.weight",
        "stages.0.0.depthwise_conv.weight",
        "stages.3.0.depthwise_conv.weight",
        "stages.0.0.pointwise_conv1.weight",
    ),
    needs=("*.depthwise_conv.weight",),
    drop={"norms of earlier stages": ("norm0.", "norm1.", "norm2.")},
    finish=finish,
)
