"""The ResNet of OpenCLIP's image tower, with and without the rest of CLIP."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from tests.producers.example import Example, Pooled, drawn, example


@example
def openclip_resnet() -> Example:
    text = CLIPTextCfg(context_length=8, vocab_size=16, width=16, heads=2, layers=1)
    vision = CLIPVisionCfg(layers=(1, 2, 1, 1), width=8, image_size=64)
    network = drawn(CLIP(32, vision, text), 96)
    tree = {"state_dict": network.state_dict(), "epoch": 3, "name": "clip"}
    return Example("clip", tree, {"online": network.visual}, image=64)


@example
def openclip_resnet_alone() -> Example:
    network = drawn(ModifiedResNet([1, 1, 1, 1], 24, 4, image_size=64, width=8), 97)
    tree = network.state_dict()
    return Example("clip_resnet", tree, {"online": network}, image=64)


@example
def openclip_resnet_without_attention() -> Example:
    network: Any = drawn(ModifiedResNet([1, 1, 1, 1], 24, 4, width=8), 98)
    network.attnpool = nn.Identity()
    feature = Pooled(network, lambda images: torch.mean(network(images), (2, 3)))
    return Example("clip_resnet", network.state_dict(), {"online": feature})
