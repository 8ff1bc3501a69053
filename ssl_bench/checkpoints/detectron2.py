"""A ResNet for detectron2: what the converters of pre-trained weights write.

Source: ``facebookresearch/moco`` and ``open-mmlab/mmselfsup``@0.x
``convert-pretrain-to-detectron2.py`` (a pickle of numpy arrays, ``model`` beside
``__author__`` and ``matching_heuristics``; an untaken head becomes ``stem.fc``);
detectron2's own models keep the ResNet below ``backbone.bottom_up``.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Naming, Producer, Recipe
from ssl_bench.checkpoints.resnet_flat import CAFFE, CAFFE_INPUT, NORM

LAYOUT = "detectron2"
PRODUCERS = (
    Producer("moco", "convert-pretrain-to-detectron2.py of MoCo or MMSelfSup"),
    Producer(
        "detectron",
        "detectron2's models trained from the MSRA weights",
        hidden=CAFFE,
        input=CAFFE_INPUT,
    ),
)

_STEM = re.compile(rf"stem\.conv1\.(?:(weight)|norm\.({NORM}))")
_BLOCK = re.compile(
    rf"res([2-5])\.(\d+)\.(?:conv([123])|shortcut)\.(?:(weight)|norm\.({NORM}))"
)


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no such ResNet has."""
    if found := _STEM.fullmatch(key):
        return f"conv1.{found[1]}" if found[1] else f"bn1.{found[2]}"
    found = _BLOCK.fullmatch(key)
    if not found:
        return None
    start = f"layer{int(found[1]) - 1}.{found[2]}"
    if found[3] is None:
        return f"{start}.downsample." + ("0.weight" if found[4] else f"1.{found[5]}")
    return f"{start}." + (
        f"conv{found[3]}.weight" if found[4] else f"bn{found[3]}.{found[5]}"
    )


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=("stem.conv1.weight", "res2.0.conv1.weight", "res5.0.conv1.weight"),
    drop={"head before conversion": ("stem.fc.", "linear.")},
)
RECIPE = Recipe(
    online=("backbone.bottom_up.", "backbone.", "bottom_up.", ""),
    outside={
        "detector": (
            "backbone.fpn_",
            "proposal_generator.",
            "roi_heads.",
            "pixel_mean",
            "pixel_std",
        )
    },
    namings=(LAYOUT,),
)
