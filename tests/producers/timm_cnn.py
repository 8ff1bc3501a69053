"""Convolutional networks of timm, beside the plain ResNet."""

from __future__ import annotations

from typing import Any

import timm
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from tests.producers.example import Example, Pooled, drawn, example
from tests.producers.small import map_feature


def deep_resnet(seed: int, block: Any, **options: Any) -> Any:
    widths = (8, 16, 32, 64)
    return drawn(
        ResNet(block, (1, 2, 1, 1), channels=widths, stem_type="deep", **options), seed
    )


@example
def timm_resnet_d() -> Example:
    """As resnet50d: an average before the shortcuts, nothing in the first stage."""
    network = deep_resnet(41, Bottleneck, stem_width=4, avg_down=True)
    feature = map_feature(network)
    return Example("resnet_flat", network.state_dict(), {"online": feature})


@example
def timm_resnet_s() -> Example:
    """As resnet50s: a deep stem that is wider than the first stage."""
    network = deep_resnet(42, BasicBlock, stem_width=8)
    feature = map_feature(network)
    return Example("resnet_flat", network.state_dict(), {"online": feature})


def before_head(network: Any) -> nn.Module:
    def forward(images: Any) -> Any:
        return network.forward_head(network.forward_features(images), pre_logits=True)

    return Pooled(network, forward)


def convnext(seed: int, **options: Any) -> Any:
    network = ConvNeXt(
        depths=(1, 1, 2, 1), dims=(8, 16, 32, 64), num_classes=5, **options
    )
    return drawn(network, seed)


@example
def timm_convnext() -> Example:
    network = convnext(43)
    tree = network.state_dict()
    return Example("timm_convnext", tree, {"online": before_head(network)})


@example
def timm_convnext_v2_of_convolutions() -> Example:
    network = convnext(44, conv_mlp=True, use_grn=True, ls_init_value=None)
    tree = {"state_dict": network.state_dict()}
    return Example("timm_convnext", tree, {"online": before_head(network)})


@example
def timm_mobilenet_v2() -> Example:
    network = drawn(timm.create_model("mobilenetv2_035", num_classes=5), 46)
    tree = network.state_dict()
    return Example("timm_mobilenetv2", tree, {"online": map_feature(network)})


@example
def timm_efficientnet() -> Example:
    network = drawn(timm.create_model("efficientnet_b0", num_classes=5), 47)
    tree = network.state_dict()
    return Example("timm_efficientnet", tree, {"online": map_feature(network)})


@example
def timm_efficientnet_of_tensorflow() -> Example:
    network = drawn(timm.create_model("tf_efficientnetv2_b0", num_classes=5), 48)
    tree = network.state_dict()
    networks = {"online": map_feature(network)}
    return Example("timm_efficientnet", tree, networks, options={"producer": "timm_tf"})
