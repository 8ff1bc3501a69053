"""Small networks of torchvision and timm, drawn at random, and their features."""

from __future__ import annotations

import functools
from typing import Any

import timm
import torchvision
from torch import Tensor, nn

from tests.producers.example import Pooled, drawn

IMAGE = 32


@functools.cache
def resnet(seed: int) -> Any:
    """torchvision's blocks at a quarter of the usual width."""
    network = torchvision.models.resnet18()
    network.inplanes = 16
    network.conv1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False)
    network.bn1 = nn.BatchNorm2d(16)
    block = torchvision.models.resnet.BasicBlock
    for stage in range(4):
        made = network._make_layer(block, 16 << stage, 2, 2 if stage else 1)
        setattr(network, f"layer{stage + 1}", made)
    network.fc = nn.Linear(128, 5)
    return drawn(network, seed)


def resnet_feature(network: Any) -> nn.Module:
    def forward(images: Tensor) -> Tensor:
        children = list(network.children())[:-1]
        return nn.Sequential(*children)(images).flatten(1)

    return Pooled(network, forward)


def map_feature(network: Any) -> nn.Module:
    return Pooled(network, lambda images: network.forward_features(images).mean((2, 3)))


@functools.cache
def timm_vit(seed: int, **options: Any) -> Any:
    return drawn(
        timm.create_model(
            "vit_tiny_patch16_224",
            img_size=IMAGE,
            depth=3,
            weight_init="skip",
            **options,
        ),
        seed,
    )


def token_feature(network: Any) -> nn.Module:
    return Pooled(network, lambda images: network.forward_features(images)[:, 0])
