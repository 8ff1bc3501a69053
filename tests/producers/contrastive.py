"""Files of the research repositories that train ResNets, and of MoCo v3's transformer.

None has a package: names and shapes are from lists that their own classes made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tests.producers.example import Example, example
from tests.producers.keys import (
    below,
    keyed,
    published_resnet,
    published_transformer,
)

NARROW = 8
OPTIMIZER: dict[str, Any] = {"state": {}, "param_groups": []}


def resnet(state: Mapping[str, Tensor], prefix: str, depth: int = 50) -> nn.Module:
    return published_resnet(below(prefix, state), depth)


def pair(
    state: Mapping[str, Tensor], online: str, ema: str, depth: int = 50
) -> dict[str, nn.Module]:
    return {"online": resnet(state, online, depth), "ema": resnet(state, ema, depth)}


@example
def moco_v2_training() -> Example:
    state = keyed("moco_resnet50", 1, NARROW)
    tree = {"epoch": 200, "arch": "resnet50", "state_dict": state}
    networks = pair(state, "module.encoder_q.", "module.encoder_k.")
    return Example("moco", {**tree, "optimizer": OPTIMIZER}, networks)


@example
def simsiam_training() -> Example:
    state = keyed("simsiam_resnet50", 2, NARROW)
    tree = {"epoch": 100, "arch": "resnet50", "state_dict": state}
    networks = {"online": resnet(state, "module.encoder.")}
    return Example("simsiam", {**tree, "optimizer": OPTIMIZER}, networks)


@example
def moco_v3_resnet_training() -> Example:
    state = keyed("moco_v3_resnet50", 3, NARROW)
    tree = {"epoch": 100, "arch": "resnet50", "state_dict": state}
    networks = pair(state, "module.base_encoder.", "module.momentum_encoder.")
    scaler = {"scale": 65536.0, "_growth_tracker": 0}
    tree |= {"optimizer": OPTIMIZER, "scaler": scaler}
    return Example("moco_v3", tree, networks)


def small_transformer(state: Mapping[str, Tensor], prefix: str) -> nn.Module:
    """Return what vits.vit_small computes, at half the width."""
    inner = below(prefix, state, ["head."])
    return published_transformer(inner, width=192, heads=12)


@example
def moco_v3_vit_training() -> Example:
    """Its small transformer has 12 heads, where timm's has 6 of the same shapes."""
    state = keyed("moco_v3_vit_small", 4, narrow=2)
    tree = {"epoch": 300, "arch": "vit_small", "state_dict": state}
    networks = {
        "online": small_transformer(state, "module.base_encoder."),
        "ema": small_transformer(state, "module.momentum_encoder."),
    }
    tree |= {"optimizer": OPTIMIZER, "scaler": {}}
    return Example("moco_v3", tree, networks, image=224)


SWAV_HEADS = ("projection_head.", "prototypes.")


@example
def swav_download() -> Example:
    """The models for download have no container."""
    state = keyed("swav_resnet50", 5, NARROW)
    network = published_resnet(below("module.", state, SWAV_HEADS), 50)
    return Example("swav", state, {"online": network})


@example
def swav_training() -> Example:
    state = keyed("swav_resnet50", 6, NARROW)
    network = published_resnet(below("module.", state, SWAV_HEADS), 50)
    tree = {"epoch": 1, "state_dict": state, "optimizer": OPTIMIZER, "amp": {}}
    return Example("swav", tree, {"online": network})


@example
def deepcluster_v2_download() -> Example:
    """It has several sets of prototypes."""
    state = keyed("swav_deepcluster_resnet50", 7, NARROW)
    network = published_resnet(below("module.", state, SWAV_HEADS), 50)
    return Example("swav", state, {"online": network})


@example
def barlow_twins_training() -> Example:
    state = keyed("barlow_twins_resnet50", 8, NARROW)
    tree = {"epoch": 1000, "model": state, "optimizer": OPTIMIZER}
    networks = {"online": resnet(state, "module.backbone.")}
    return Example("barlow_twins", tree, networks)


@example
def vicreg_training() -> Example:
    state = keyed("vicreg_resnet50", 9, NARROW)
    tree = {"epoch": 1000, "model": state, "optimizer": OPTIMIZER}
    return Example("vicreg", tree, {"online": resnet(state, "module.backbone.")})


@example
def byol_pytorch_learner() -> Example:
    """It names the user's network twice."""
    state = keyed("byol_pytorch_resnet50", 10, NARROW)
    for key in [key for key in state if key.startswith("net.")]:
        state[key] = state[f"online_encoder.{key}"]
    networks = pair(state, "online_encoder.net.", "target_encoder.net.")
    return Example("byol_pytorch", state, networks)


@example
def byol_sthalles_training() -> Example:
    online, target = (keyed("byol_sthalles_resnet18", s, NARROW) for s in (11, 12))
    tree = {
        "online_network_state_dict": online,
        "encoder_state_dict": below("encoder.", online),
        "target_network_state_dict": target,
        "optimizer_state_dict": OPTIMIZER,
    }
    networks = {
        "online": resnet(online, "encoder.", 18),
        "ema": resnet(target, "encoder.", 18),
    }
    return Example("byol_sthalles", tree, networks)


@example
def byol_yaox12_training() -> Example:
    state = keyed("byol_yaox12_resnet50", 13, NARROW)
    tree = {
        "config": {"stage": "train"},
        "epoch": 300,
        "steps": 93_900,
        "model": state,
        "optimizer": OPTIMIZER,
        "amp": {},
    }
    online, ema = "module.online_network.encoder.", "module.target_network.encoder."
    return Example("byol_yaox12", tree, pair(state, online, ema))
