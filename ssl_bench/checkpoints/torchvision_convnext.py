"""ConvNeXt in torchvision's names.

Source: ``torchvision.models.ConvNeXt``; its last norm is part of the classifier.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.convnext import AFFINE, downsampling, finish
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "torchvision_convnext"
PRODUCERS = (Producer("torchvision", "torchvision"),)

_KEY = re.compile(
    rf"features\.(?P<down>[0246])\.(?P<part>[01]\.{AFFINE})"
    r"|features\.(?P<stage>[1357])\.(?P<block>\d+)\.(?:(?P<scale>layer_scale)"
    rf"|block\.(?P<layer>[0235])\.(?P<kind>{AFFINE}))"
    rf"|classifier\.0\.(?P<last>{AFFINE})"
)
_LAYERS = {"0": "conv_dw", "2": "norm", "3": "mlp.fc1", "5": "mlp.fc2"}


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no ConvNeXt has."""
    found = _KEY.fullmatch(key)
    if not found:
        return None
    if found["last"]:
        return f"head.norm.{found['last']}"
    if found["down"]:
        return downsampling(int(found["down"]) // 2, found["part"])
    start = f"stages.{int(found['stage']) // 2}.blocks.{found['block']}"
    if found["scale"]:
        return f"{start}.gamma"
    return f"{start}.{_LAYERS[found['layer']]}.{found['kind']}"


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "features.1.0.block.0.weight",
        "features.3.0.block.0.weight",
        "features.7.0.block.0.weight",
        "features.1.0.layer_scale",
    ),
    finish=finish,
)
