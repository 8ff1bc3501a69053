"""MobileNetV2 in torchvision's names, which are ours.

Source: ``torchvision.models.MobileNetV2``.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "torchvision_mobilenetv2"
PRODUCERS = (Producer("torchvision", "torchvision"),)

_KEY = re.compile(
    rf"features\.(?:0|18)\.(?:0\.weight|1\.{NORM})"
    rf"|features\.1\.conv\.(?:0\.0\.weight|0\.1\.{NORM}|1\.weight|2\.{NORM})"
    rf"|features\.(?:[2-9]|1[0-7])\.conv\.(?:[01]\.0\.weight|[01]\.1\.{NORM}|2\.weight"
    rf"|3\.{NORM})"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor, which is the same; None for others."""
    return key if _KEY.fullmatch(key) else None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "features.1.conv.0.0.weight",
        "features.2.conv.1.0.weight",
        "features.17.conv.2.weight",
        "features.18.0.weight",
    ),
)
