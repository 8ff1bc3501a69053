"""Files of torchvision and timm, and our own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from ssl_bench import checkpoints
from tests.producers.example import Example, Pooled, drawn, example, under
from tests.producers.small import (
    map_feature,
    resnet,
    resnet_feature,
    timm_vit,
    token_feature,
)

IMAGE = 32


@example
def torchvision_resnet18() -> Example:
    network = drawn(torchvision.models.resnet18(), 1)
    feature = resnet_feature(network)
    return Example("resnet_flat", network.state_dict(), {"online": feature})


@example
def timm_resnet18_training() -> Example:
    """timm's CheckpointSaver: the weights, their average, and the training's state."""
    online, ema = (drawn(timm.create_model("resnet18"), seed) for seed in (2, 3))
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    tree = {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": online.state_dict(),
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "state_dict_ema": ema.state_dict(),
    }
    networks = {"online": map_feature(online), "ema": map_feature(ema)}
    return Example("resnet_flat", tree, networks)


@example
def wrapped_resnet() -> Example:
    network = resnet(4)
    tree = {"model": under("module._orig_mod.", network.state_dict())}
    return Example("resnet_flat", tree, {"online": resnet_feature(network)})


@example
def only_the_average() -> Example:
    tree = {"model_ema": resnet(4).state_dict()}
    return Example("resnet_flat", tree, {"ema": resnet_feature(resnet(4))}, "ema")


@example
def timm_vit_flat() -> Example:
    network = timm_vit(5)
    tree = network.state_dict()
    return Example("timm_vit", tree, {"online": token_feature(network)})


@example
def timm_vit_in_model() -> Example:
    """DeiT's container, with layer scale and no class token."""
    network = timm_vit(
        6, class_token=False, global_pool="avg", fc_norm=False, init_values=0.1
    )
    feature = Pooled(network, lambda images: network.forward_features(images).mean(1))
    return Example("timm_vit", {"model": network.state_dict()}, {"online": feature})


@example
def torchvision_vit() -> Example:
    network = torchvision.models.VisionTransformer(
        image_size=IMAGE,
        patch_size=16,
        num_layers=12,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
    )
    tree = dict(drawn(network, 7).state_dict())
    network.heads = nn.Identity()
    return Example("torchvision_vit", tree, {"online": network})


@example
def our_own() -> Example:
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "in.pth"), Path(folder, "out.pth")
        torch.save({"state_dict": resnet(8).state_dict()}, raw)
        checkpoints.save(checkpoints.load(raw), out)
        saved = torch.load(out, weights_only=True)
    return Example("ssl_bench", saved, {"online": resnet_feature(resnet(8))})
