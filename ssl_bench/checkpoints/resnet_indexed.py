"""A ResNet as a sequence of torchvision's children: 0, 1 and 4 to 7 have tensors.

Source: ``nn.Sequential(*list(resnet.children())[:-1])``, as in the examples of
``lightly-ai/lightly`` and in re-implementations of BYOL and SimCLR.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "resnet_indexed"
PRODUCERS = (
    Producer("lightly", "lightly-ai/lightly, a sequence of torchvision's children"),
    Producer("torchvision", "torchvision's children in a Sequential"),
)

_FIRST = re.compile(rf"0\.(weight)|1\.({NORM})")
_BLOCK = re.compile(
    rf"([4-7])\.(\d+\.(?:conv[123]\.weight|bn[123]\.{NORM}|downsample\.0\.weight"
    rf"|downsample\.1\.{NORM}))"
)
_BEFORE_LAYERS = 3


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no such ResNet has."""
    if found := _FIRST.fullmatch(key):
        return f"conv1.{found[1]}" if found[1] else f"bn1.{found[2]}"
    if found := _BLOCK.fullmatch(key):
        return f"layer{int(found[1]) - _BEFORE_LAYERS}.{found[2]}"
    return None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=("4.0.conv1.weight", "5.0.conv1.weight", "7.0.conv1.weight"),
    lacks=("2.", "3."),
)
