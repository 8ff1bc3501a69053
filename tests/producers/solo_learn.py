"""Files of solo-learn, in its old and its new names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tests.producers.example import Example, example
from tests.producers.keys import (
    below,
    keyed,
    published_resnet,
    published_transformer,
)

NARROW = 8


def lightning(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what PyTorch Lightning's trainer writes around a state dict."""
    return {
        "epoch": 399,
        "global_step": 78_000,
        "pytorch-lightning_version": "1.5.9",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "lr_schedulers": [{"last_epoch": 78_000}],
    }


@example
def solo_learn_byol_cifar() -> Example:
    """The old names, and the stem for small images, which pads by 2."""
    state = keyed("solo_learn_byol_cifar_resnet18", 1, NARROW)
    networks = {
        "online": published_resnet(below("encoder.", state), 18),
        "ema": published_resnet(below("momentum_encoder.", state), 18),
    }
    return Example("solo_learn", lightning(state), networks)


@example
def solo_learn_mocov2plus() -> Example:
    state = keyed("solo_learn_mocov2plus_resnet50", 2, NARROW)
    networks = {
        "online": published_resnet(below("backbone.", state), 50),
        "ema": published_resnet(below("momentum_backbone.", state), 50),
    }
    return Example("solo_learn", lightning(state), networks)


@example
def solo_learn_mocov3_transformer() -> Example:
    """Of 12 heads, where the other methods' transformer of this size has 6."""
    state = keyed("solo_learn_mocov3_vit_small", 3, narrow=2)
    networks = {
        name: published_transformer(below(prefix, state), width=192, heads=12)
        for name, prefix in (("online", "backbone."), ("ema", "momentum_backbone."))
    }
    return Example("solo_learn", lightning(state), networks, image=224)


@example
def solo_learn_mae_transformer() -> Example:
    state = keyed("solo_learn_mae_vit_tiny", 4, narrow=2)
    network = published_transformer(below("backbone.", state), width=96, heads=12)
    return Example("solo_learn", lightning(state), {"online": network}, image=224)
