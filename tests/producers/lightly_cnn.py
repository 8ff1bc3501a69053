"""lightly's own ResNet for small images, indexed and whole."""

from __future__ import annotations

from typing import Any

from lightly.models import ResNetGenerator
from torch import nn

from tests.producers.example import Example, Pooled, drawn, example


def small(seed: int, name: str) -> tuple[Any, nn.Module]:
    network = drawn(ResNetGenerator(name, width=0.125), seed)
    layers = [network.layer1, network.layer2, network.layer3, network.layer4]
    body = nn.Sequential(network.conv1, network.bn1, nn.ReLU(), *layers)
    return network, Pooled(network, lambda images: body(images).mean((2, 3)))


@example
def lightly_resnet_children() -> Example:
    """As lightly's own models take it: no child holds the ReLU of the stem."""
    network, _ = small(71, "resnet-18")
    backbone = nn.Sequential(*list(network.children())[:-1])
    feature = Pooled(backbone, lambda images: backbone(images).mean((2, 3)))
    return Example("lightly_resnet", backbone.state_dict(), {"online": feature})


@example
def lightly_resnet_whole() -> Example:
    """The names are those of kuangliu's ResNets, from which many CIFAR codes start."""
    network, feature = small(72, "resnet-9")
    return Example("resnet_flat", network.state_dict(), {"online": feature})
