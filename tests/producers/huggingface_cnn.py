"""Convolutional networks of Hugging Face's transformers."""

from __future__ import annotations

import tempfile
from typing import Any

import safetensors.torch
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextV2Config,
    ConvNextV2Model,
    DINOv3ConvNextConfig,
    DINOv3ConvNextModel,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
)

from tests.producers.example import Example, Pooled, drawn, example


def pooled(network: Any) -> nn.Module:
    return Pooled(network, lambda images: network(images).pooler_output.flatten(1))


@example
def huggingface_resnet() -> Example:
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[2, 1, 1, 1],
        layer_type="basic",
        num_labels=5,
    )
    network = drawn(ResNetForImageClassification(config), 51)
    tree = network.state_dict()
    return Example("hf_resnet", tree, {"online": pooled(network.resnet)})


@example
def huggingface_resnet_with_early_stride() -> Example:
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 2, 1],
        downsample_in_bottleneck=True,
    )
    network = drawn(ResNetModel(config), 52)
    networks = {"online": pooled(network)}
    options = {"producer": "huggingface_caffe"}
    return Example("hf_resnet", network.state_dict(), networks, options=options)


SMALL: dict[str, Any] = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 2, 1]}


@example
def huggingface_convnext() -> Example:
    network = ConvNextForImageClassification(ConvNextConfig(num_labels=5, **SMALL))
    tree = drawn(network, 53).state_dict()
    return Example("hf_convnext", tree, {"online": pooled(network.convnext)})


@example
def huggingface_convnext_v2() -> Example:
    network = drawn(ConvNextV2Model(ConvNextV2Config(**SMALL)), 54)
    return Example("hf_convnext", network.state_dict(), {"online": pooled(network)})


def dinov3() -> Any:
    return drawn(DINOv3ConvNextModel(DINOv3ConvNextConfig(**SMALL)), 55)


@example
def huggingface_dinov3_convnext() -> Example:
    network = dinov3()
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        tree = safetensors.torch.load_file(f"{folder}/model.safetensors")
    return Example("hf_dinov3_convnext", tree, {"online": pooled(network)})


@example
def huggingface_dinov3_convnext_in_memory() -> Example:
    network = dinov3()
    tree = network.state_dict()
    return Example("hf_dinov3_convnext", tree, {"online": pooled(network)})
