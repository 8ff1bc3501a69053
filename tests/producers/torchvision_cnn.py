"""Convolutional networks of torchvision: flat, indexed, and turned for detectron2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck

from tests.producers.example import Example, Pooled, drawn, example, trunk, under
from tests.producers.small import resnet, resnet_feature


def bottlenecks(seed: int, **options: Any) -> Any:
    return drawn(torchvision.models.ResNet(Bottleneck, [1, 1, 1, 1], **options), seed)


@example
def torchvision_resnext() -> Example:
    network = bottlenecks(31, groups=8, width_per_group=4)
    feature = resnet_feature(network)
    return Example("resnet_flat", network.state_dict(), {"online": feature})


@example
def torchvision_wide_resnet() -> Example:
    network = bottlenecks(32, width_per_group=128)
    feature = resnet_feature(network)
    return Example("resnet_flat", network.state_dict(), {"online": feature})


@example
def torchvision_children() -> Example:
    network = resnet(33)
    backbone = nn.Sequential(*list(network.children())[:-1])
    tree = {"state_dict": backbone.state_dict()}
    return Example("resnet_indexed", tree, {"online": resnet_feature(network)})


@example
def torchvision_mobilenet_v2() -> Example:
    network = drawn(torchvision.models.mobilenet_v2(width_mult=0.25), 34)
    feature = Pooled(network, lambda images: network.features(images).mean((2, 3)))
    return Example("torchvision_mobilenetv2", network.state_dict(), {"online": feature})


@example
def torchvision_convnext() -> Example:
    widths = (8, 16, 32, 64, None)
    blocks = [
        CNBlockConfig(width, after, count)
        for width, after, count in zip(widths, widths[1:], (1, 1, 2, 1), strict=False)
    ]
    network = drawn(torchvision.models.ConvNeXt(blocks, num_classes=5), 35)

    def forward(images: Tensor) -> Tensor:
        pooled = network.avgpool(network.features(images))
        return network.classifier[0](pooled).flatten(1)

    tree = network.state_dict()
    return Example("torchvision_convnext", tree, {"online": Pooled(network, forward)})


def converted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename as the converters for detectron2 do, head and all."""
    renamed = {}
    for key, tensor in state.items():
        parts = key.split(".")
        if not key.startswith("layer"):
            parts = ["stem", *parts]
        else:
            parts[0] = f"res{int(parts[0][-1]) + 1}"
        name = ".".join(parts)
        for index in "123":
            name = name.replace(f"bn{index}", f"conv{index}.norm")
        name = name.replace("downsample.0", "shortcut")
        renamed[name.replace("downsample.1", "shortcut.norm")] = tensor
    return renamed


@example
def detectron2_pkl() -> Example:
    network = resnet(36)
    tree = {
        "model": converted(network.state_dict()),
        "__author__": "MOCO",
        "matching_heuristics": True,
    }
    return Example("detectron2", tree, {"online": resnet_feature(network)})


def caffe(network: Any) -> nn.Module:
    """Move the strides to the first 1x1 convolutions and the channels to BGR."""
    for block in (network.layer2[0], network.layer3[0], network.layer4[0]):
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    feature = resnet_feature(network)
    return Pooled(network, lambda images: feature(images[:, [2, 1, 0]]))


@example
def detectron2_detector() -> Example:
    """A detector of detectron2's: frozen batch norms, and all the rest of it."""
    network = bottlenecks(37)
    state = converted(trunk(network.state_dict()))
    kept = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
    rest = {
        "pixel_mean": torch.ones(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "backbone.fpn_lateral2.weight": torch.ones(4, 4, 1, 1),
        "proposal_generator.rpn_head.conv.weight": torch.ones(4, 4, 3, 3),
        "roi_heads.box_head.fc1.weight": torch.ones(4, 4),
    }
    tree = {
        "model": {**under("backbone.bottom_up.", kept), **rest},
        "__author__": "Detectron2 Model Zoo",
    }
    networks = {"online": caffe(network)}
    return Example("detectron2", tree, networks, options={"producer": "detectron"})
