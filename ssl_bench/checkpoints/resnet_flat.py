"""A ResNet in torchvision's names with nothing before them.

torchvision, timm, most official repositories and extracted OpenMMLab files write the
very same keys, so they are one layout: nothing in such a file says who wrote it. Deep
stems are ``conv1.0`` to ``conv1.6`` in timm (which our names follow), ``stem.0`` to
``stem.7`` in MMDetection and MMSegmentation, ``stem.N.conv`` and ``stem.N.bn`` in
MMPretrain. Networks after kuangliu's for CIFAR call the downsampling ``shortcut``.

Source: timm's ``ResNet``; open-mmlab/mmdetection ``mmdet/models/backbones/resnet.py``;
open-mmlab/mmpretrain ``mmpretrain/models/backbones/resnet.py``; open-mmlab/mmselfsup
``ResNetSobel``, whose ``sobel_layer`` never trains. The statistics
of Detectron's MSRA weights are those of OpenMMLab's configs for ``resnet50_caffe``.
"""

from __future__ import annotations

import re

from torch import Tensor

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "resnet_flat"
CAFFE_INPUT = InputSpec(
    mean=(123.675 / 255, 116.28 / 255, 103.53 / 255), std=(1 / 255, 1 / 255, 1 / 255)
)
"""Mean pixel, in our order and units; values from 0 to 255 are not scaled."""

CAFFE = {"style": "caffe", "bgr": True}
PRODUCERS = (
    Producer("torchvision", "torchvision"),
    Producer("timm", "timm"),
    Producer("mmselfsup", "files extracted by MMSelfSup or OpenSelfSup"),
    Producer("openmmlab", "OpenMMLab's ResNetV1c and V1d"),
    Producer("swav", "facebookresearch/swav"),
    Producer("barlow_twins", "facebookresearch/barlowtwins"),
    Producer("vicreg", "facebookresearch/vicreg"),
    Producer("dino", "facebookresearch/dino"),
    Producer("solo_learn", "vturrisi/solo-learn, for CIFAR", hidden={"padding": 2}),
    Producer(
        "detectron",
        "Detectron's MSRA weights, as OpenMMLab's resnet50_caffe",
        hidden=CAFFE,
        input=CAFFE_INPUT,
    ),
)

NORM = r"(?:weight|bias|running_mean|running_var|num_batches_tracked)"
_KEY = re.compile(
    rf"conv1\.(?:[036]\.)?weight|conv1\.[14]\.{NORM}|bn1\.{NORM}"
    rf"|layer[1-4]\.\d+\.(?:conv[123]\.weight|bn[123]\.{NORM}"
    rf"|downsample\.[01]\.weight|downsample\.[12]\.{NORM})"
)
_STEM = re.compile(
    rf"stem\.(?:([036])\.(weight)|([147])\.({NORM})|([012])\.(?:conv\.(weight)|bn\.({NORM})))"
)
_SHORTCUT = re.compile(
    rf"(layer[1-4]\.\d+)\.shortcut\.(0\.weight|1\.{NORM})",
)
_BEFORE_LAST = 7


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no ResNet has."""
    if _KEY.fullmatch(key):
        return key
    if found := _SHORTCUT.fullmatch(key):
        return f"{found[1]}.downsample.{found[2]}"
    if found := _STEM.fullmatch(key):
        index = int(found[1] or found[3] or found[5])
        if found[5]:
            index = 3 * index + (found[6] is None)
        name = found[2] or found[4] or found[6] or found[7]
        return f"bn1.{name}" if index == _BEFORE_LAST else f"conv1.{index}.{name}"
    return None


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave a place for the average before every shortcut, where others have one.

    OpenMMLab has none in the first stage, which does not shrink the map.
    """
    if not any(".downsample.2." in name for name in tensors):
        return tensors
    starts = [
        n[: -len("0.weight")] for n in tensors if n.endswith(".downsample.0.weight")
    ]
    moved = {}
    for name, tensor in tensors.items():
        start = next((s for s in starts if name.startswith(s)), None)
        if start is not None:
            index, rest = name[len(start) :].split(".", 1)
            name = f"{start}{int(index) + 1}.{rest}"
        moved[name] = tensor
    return moved


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "conv1.weight",
        "conv1.0.weight",
        "layer1.0.conv1.weight",
        "layer1.0.conv2.weight",
        "layer2.0.downsample.0.weight",
        "layer4.0.conv1.weight",
    ),
    drop={"fixed Sobel filters": ("sobel_layer.",), "linear classifier": ("linear.",)},
    finish=finish,
)
