"""A ResNet of Hugging Face's transformers, with or without its classifier.

Source: ``transformers.models.resnet.modeling_resnet``; the stride is in the 3x3
convolution unless the configuration says ``downsample_in_bottleneck``.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer, Recipe
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "hf_resnet"
PRODUCERS = (
    Producer("huggingface", "Hugging Face transformers, ResNet"),
    Producer(
        "huggingface_caffe",
        "Hugging Face transformers, ResNet with downsample_in_bottleneck",
        hidden={"style": "caffe"},
    ),
)

_STEM = re.compile(
    rf"embedder\.embedder\.(?:convolution\.(weight)|normalization\.({NORM}))"
)
_BLOCK = re.compile(
    rf"encoder\.stages\.([0-3])\.layers\.(\d+)\.(?:layer\.([0-2])|shortcut)"
    rf"\.(?:convolution\.(weight)|normalization\.({NORM}))"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no such ResNet has."""
    if found := _STEM.fullmatch(key):
        return f"conv1.{found[1]}" if found[1] else f"bn1.{found[2]}"
    found = _BLOCK.fullmatch(key)
    if not found:
        return None
    start = f"layer{int(found[1]) + 1}.{found[2]}"
    if found[3] is None:
        return f"{start}.downsample." + ("0.weight" if found[4] else f"1.{found[5]}")
    index = int(found[3]) + 1
    return f"{start}." + (
        f"conv{index}.weight" if found[4] else f"bn{index}.{found[5]}"
    )


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "embedder.embedder.convolution.weight",
        "encoder.stages.0.layers.0.layer.0.convolution.weight",
        "encoder.stages.3.layers.0.layer.0.convolution.weight",
    ),
)
RECIPE = Recipe(
    online=("resnet.", ""), outside={"head": ("classifier.",)}, namings=(LAYOUT,)
)
