"""MobileNetV2 in timm's names.

Source: timm's ``EfficientNet`` as ``mobilenetv2_100`` and others of the same depth.
"""

from __future__ import annotations

import re

from ssl_bench.backbones.mobilenet_v2 import BLOCKS, LAST, STARTS
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "timm_mobilenetv2"
PRODUCERS = (Producer("timm", "timm"),)

_ENDS = re.compile(rf"(?:conv_(stem|head)\.(weight)|bn([12])\.({NORM}))")
_BLOCK = re.compile(rf"blocks\.([0-6])\.(\d+)\.(conv_\w+|bn[123])\.({NORM})")
_FIRST = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
_LATER = {
    "conv_pw": "0.0",
    "bn1": "0.1",
    "conv_dw": "1.0",
    "bn2": "1.1",
    "conv_pwl": "2",
    "bn3": "3",
}


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no such MobileNetV2 has."""
    if found := _ENDS.fullmatch(key):
        is_stem = found[1] == "stem" or found[3] == "1"
        part = "0.weight" if found[1] else f"1.{found[4]}"
        return f"features.{0 if is_stem else LAST}.{part}"
    found = _BLOCK.fullmatch(key)
    if not found:
        return None
    stage, index = int(found[1]), int(found[2])
    place = (_LATER if stage else _FIRST).get(found[3])
    is_whole = found[3].startswith("bn") or found[4] == "weight"
    if place is None or not is_whole or index >= BLOCKS[stage]:
        return None
    return f"features.{STARTS[stage] + index}.conv.{place}.{found[4]}"


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "conv_stem.weight",
        "blocks.0.0.conv_dw.weight",
        "blocks.1.0.conv_pwl.weight",
        "blocks.6.0.conv_pwl.weight",
    ),
    lacks=("*.se.conv_reduce.weight", "blocks.0.0.conv.weight"),
)
