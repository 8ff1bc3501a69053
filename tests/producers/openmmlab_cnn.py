"""Convolutional networks of MMPretrain, extracted and within a classifier."""

from __future__ import annotations

import importlib
import re
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from tests.producers.example import Example, Pooled, drawn, example


def built(name: str, seed: int, **options: Any) -> Any:
    """Build a backbone of MMPretrain, whose import is slow and full of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = importlib.import_module("mmpretrain.models")
        network = getattr(models, name)(**options)
        drawn(network, seed)
        return network


def mean_of_last(network: Any) -> nn.Module:
    return Pooled(network, lambda images: network(images)[-1].mean((2, 3)))


@example
def mmpretrain_resnet_v1d() -> Example:
    """The first stage has no average before its shortcut, the others have one."""
    network = built("ResNetV1d", 61, depth=50, base_channels=4, stem_channels=8)
    tree = {"state_dict": network.state_dict(), "author": "MMSelfSup"}
    return Example("resnet_flat", tree, {"online": mean_of_last(network)})


@example
def mmdetection_resnet_v1c() -> Example:
    """MMDetection's stem has the very same layers without names of their own."""
    network = built("ResNetV1c", 62, depth=18, base_channels=8, stem_channels=8)

    def flat(found: re.Match[str]) -> str:
        return f"stem.{3 * int(found[1]) + (found[2] == 'bn')}."

    tree = {
        re.sub(r"^stem\.(\d)\.(conv|bn)\.", flat, key): tensor
        for key, tensor in network.state_dict().items()
    }
    return Example("resnet_flat", tree, {"online": mean_of_last(network)})


@example
def openmmlab_resnet_caffe() -> Example:
    network = built(
        "ResNet", 63, depth=50, base_channels=4, stem_channels=4, style="caffe"
    )
    feature = mean_of_last(network)
    networks = {"online": lambda images: feature(images[:, [2, 1, 0]])}
    options = {"producer": "detectron"}
    return Example("resnet_flat", network.state_dict(), networks, options=options)


class Sobel(nn.Module):
    """Grey, and its two gradients, as fixed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.sobel = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Conv2d(1, 2, 3, padding=1))
        across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        with torch.no_grad():
            self.sobel[0].weight.fill_(1 / 3)
            self.sobel[1].weight.copy_(torch.stack([across, across.T])[:, None])
            for layer in self.sobel:
                layer.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.sobel(images)


@example
def mmselfsup_resnet_sobel() -> Example:
    """MMSelfSup 1.x's ResNetSobel has the filters within the backbone."""
    network = built(
        "ResNet", 64, depth=18, base_channels=8, stem_channels=8, in_channels=2
    )
    feature = mean_of_last(network)
    network.sobel_layer = Sobel()
    networks = {"online": lambda images: feature(network.sobel_layer(images))}
    return Example("resnet_flat", {"state_dict": network.state_dict()}, networks)


def convnext(seed: int, **options: Any) -> Any:
    arch = {"depths": [1, 1, 2, 1], "channels": [8, 16, 32, 64]}
    return built("ConvNeXt", seed, arch=arch, **options)


@example
def mmpretrain_convnext() -> Example:
    network = convnext(65, linear_pw_conv=False)
    feature = Pooled(network, lambda images: network(images)[-1])
    return Example("mm_convnext", network.state_dict(), {"online": feature})


@example
def mmpretrain_convnext_v2() -> Example:
    network = convnext(
        66, use_grn=True, layer_scale_init_value=0.0, out_indices=[0, 1, 2, 3]
    )
    feature = Pooled(network, lambda images: network(images)[-1])
    tree = {"state_dict": network.state_dict()}
    return Example("mm_convnext", tree, {"online": feature})


@example
def mmpretrain_mobilenet_v2() -> Example:
    network = built("MobileNetV2", 67, widen_factor=0.25)
    tree = network.state_dict()
    return Example("mm_mobilenetv2", tree, {"online": mean_of_last(network)})
