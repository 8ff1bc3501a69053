"""A ResNet in torchvision's names with nothing before them.

torchvision, timm and extracted OpenMMLab files write the very same keys, so they are
one layout: nothing in such a file says who wrote it, and nothing needs to.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import Reading, read_flat
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "resnet_flat"
PRODUCERS = (
    "torchvision",
    "timm",
    "files extracted by MMSelfSup or OpenSelfSup",
)
SIGNATURE = ("conv1.weight", "layer1.0.conv1.weight")


def read(payload: Payload) -> Reading | None:
    """Read a flat ResNet, alone or in timm's containers with its EMA."""
    return read_flat(payload, SIGNATURE)
