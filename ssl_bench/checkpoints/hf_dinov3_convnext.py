"""DINOv3's ConvNeXt in Hugging Face's transformers.

Source: ``transformers.models.dinov3_convnext``. In memory, version 5 has ``model``
before the stages; files have not.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.convnext import AFFINE, our_name
from ssl_bench.checkpoints.layout import Naming, Producer, Recipe

LAYOUT = "hf_dinov3_convnext"
PRODUCERS = (Producer("huggingface", "Hugging Face transformers, DINOv3ConvNext"),)

_KEY = re.compile(
    r"(?:model\.)?stages\.(?P<stage>[0-3])\."
    rf"(?:downsample_layers\.(?P<part>[01]\.{AFFINE})|layers\.(?P<block>\d+)\."
    r"(?:(?P<gamma>gamma)|(?P<layer>depthwise_conv|layer_norm|pointwise_conv[12])"
    rf"\.(?P<kind>{AFFINE})))|layer_norm\.(?P<last>{AFFINE})"
)
_LAYERS = {
    "depthwise_conv": "conv_dw",
    "layer_norm": "norm",
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
        "stages.0.layers.0.depthwise_conv.weight",
        "stages.3.layers.0.depthwise_conv.weight",
        "model.stages.0.layers.0.depthwise_conv.weight",
        "model.stages.3.layers.0.depthwise_conv.weight",
    ),
)
RECIPE = Recipe(namings=(LAYOUT,))
