"""EfficientNet of either version in timm's names, which are ours.

Source: timm's ``EfficientNet``. Weights that came from TensorFlow, whose models begin
with ``tf_``, look the same and are computed otherwise: with another padding and eps.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "timm_efficientnet"
PRODUCERS = (
    Producer("timm", "timm"),
    Producer("timm_tf", "timm's tf_efficientnet models", hidden={"tf": True}),
)

_KEY = re.compile(
    rf"conv_(?:stem|head)\.weight|bn[12]\.{NORM}|blocks\.[0-6]\.\d+\.(?:bn[123]\.{NORM}"
    r"|conv(?:_dw|_pw|_pwl|_exp)?\.weight|se\.conv_(?:reduce|expand)\.(?:weight|bias))"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor, which is the same; None for others."""
    return key if _KEY.fullmatch(key) else None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "conv_stem.weight",
        "conv_head.weight",
        "blocks.1.0.conv_pwl.weight",
        "blocks.5.0.conv_pwl.weight",
    ),
    needs=("*.se.conv_reduce.weight",),
)
