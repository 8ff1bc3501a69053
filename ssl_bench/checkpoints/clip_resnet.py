"""The ResNet of CLIP's image tower, in OpenAI's names, which are ours.

Source: ``openai/CLIP`` ``clip/model.py`` (``ModifiedResNet``); OpenCLIP has the same.
"""

from __future__ import annotations

import re

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.resnet_flat import NORM

LAYOUT = "clip_resnet"
INPUT = InputSpec(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
PRODUCERS = (Producer("clip", "image tower of CLIP alone, ResNet", input=INPUT),)

_KEY = re.compile(
    rf"conv[123]\.weight|bn[123]\.{NORM}|layer[1-4]\.\d+\.(?:conv[123]\.weight"
    rf"|bn[123]\.{NORM}|downsample\.0\.weight|downsample\.1\.{NORM})"
    r"|attnpool\.(?:positional_embedding|[kqvc]_proj\.(?:weight|bias))"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor, which is the same; None for others."""
    return key if _KEY.fullmatch(key) else None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "conv2.weight",
        "conv3.weight",
        "layer1.0.conv1.weight",
        "layer4.0.conv1.weight",
    ),
    needs=("conv2.weight", "conv3.weight"),
)
