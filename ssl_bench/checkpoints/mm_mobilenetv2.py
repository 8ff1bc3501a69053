"""MobileNetV2 in the names of MMPretrain.

Source: open-mmlab/mmpretrain ``mmpretrain/models/backbones/mobilenet_v2.py``.
"""

from __future__ import annotations

import re

from ssl_bench.backbones.mobilenet_v2 import BLOCKS, LAST, STARTS
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "mm_mobilenetv2"
PRODUCERS = (Producer("mmpretrain", "files extracted by MMPretrain"),)

_ENDS = re.compile(rf"conv([12])\.(?:conv\.(weight)|bn\.({NORM}))")
_BLOCK = re.compile(
    rf"layer([1-7])\.(\d+)\.conv\.([0-2])\.(?:conv\.(weight)|bn\.({NORM}))"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no such MobileNetV2 has."""
    if found := _ENDS.fullmatch(key):
        part = "0.weight" if found[2] else f"1.{found[3]}"
        return f"features.{0 if found[1] == '1' else LAST}.{part}"
    found = _BLOCK.fullmatch(key)
    if not found:
        return None
    stage, index, unit = int(found[1]) - 1, int(found[2]), int(found[3])
    last = 2 if stage else 1
    if index >= BLOCKS[stage] or unit > last:
        return None
    start = f"features.{STARTS[stage] + index}.conv"
    if unit < last:
        return f"{start}.{unit}." + ("0.weight" if found[4] else f"1.{found[5]}")
    return f"{start}." + (f"{last}.weight" if found[4] else f"{last + 1}.{found[5]}")


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "conv1.conv.weight",
        "layer1.0.conv.0.conv.weight",
        "layer2.0.conv.2.conv.weight",
        "layer7.0.conv.2.conv.weight",
    ),
)
