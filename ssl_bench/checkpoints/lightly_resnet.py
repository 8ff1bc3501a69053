"""lightly's own ResNet for small images, as a sequence of its children.

Source: ``lightly-ai/lightly`` (PyPI ``lightly`` 1.6.0), ``lightly/models/resnet.py``
(``ResNetGenerator``): a 3x3 stem without pooling, so that 0, 1 and 2 to 5 have tensors.
The ReLU of its stem is no child, so that a sequence of its children goes without.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "lightly_resnet"
PRODUCERS = (Producer("lightly", "lightly-ai/lightly, children of ResNetGenerator's"),)

_FIRST = re.compile(rf"0\.(weight)|1\.({NORM})")
_BLOCK = re.compile(
    rf"([2-5])\.(\d+)\.(?:(conv[123]\.weight|bn[123]\.{NORM})"
    rf"|shortcut\.(0\.weight|1\.{NORM}))"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no such ResNet has."""
    if found := _FIRST.fullmatch(key):
        return f"conv1.{found[1]}" if found[1] else f"bn1.{found[2]}"
    if found := _BLOCK.fullmatch(key):
        start = f"layer{int(found[1]) - 1}.{found[2]}"
        return f"{start}.{found[3] or f'downsample.{found[4]}'}"
    return None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=("2.0.conv1.weight", "3.0.conv1.weight", "5.0.conv1.weight"),
    lacks=("6.", "7."),
    hidden={"stem_relu": False},
)
