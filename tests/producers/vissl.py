"""Files of VISSL: the trunk in its place, extracted, and with a teacher in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.producers.example import Example, example, mlp, under
from tests.producers.keys import (
    below,
    keyed,
    published_resnet,
    published_transformer,
)

NARROW = 8
BLOCKS = "_feature_blocks."


def classy(trunk: Mapping[str, Tensor], loss: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what Classy Vision's checkpoint hook writes."""
    return {
        "phase_idx": 99,
        "iteration": 500_400,
        "loss": 1.5,
        "iteration_num": 500_400,
        "train_phase_idx": 99,
        "classy_state_dict": {
            "train": True,
            "base_model": {
                "model": {"trunk": trunk, "heads": mlp("0.clf.")},
                "meta": {"trunk": {}, "heads": []},
            },
            "meters": [],
            "optimizer": {"optim": {"state": {}, "param_groups": []}},
            "phase_idx": 99,
            "train_phase_idx": 99,
            "num_updates": 500_400,
            "losses": [],
            "hooks": {},
            "loss": dict(loss),
        },
        "type": "consolidated",
    }


def trunk_of(seed: int) -> dict[str, Tensor]:
    return keyed("vissl_resnet50", seed, NARROW)


def feature(trunk: Mapping[str, Tensor]) -> nn.Module:
    return published_resnet(below(BLOCKS, trunk), 50)


@example
def vissl_resnet_training() -> Example:
    trunk = trunk_of(1)
    return Example("vissl", classy(trunk, {}), {"online": feature(trunk)})


@example
def vissl_moco_training() -> Example:
    """MoCo's hook gives the loss a second model and a queue."""
    trunk, teacher = trunk_of(2), trunk_of(3)
    loss = {
        "queue": torch.ones(8, 16),
        "queue_ptr": torch.zeros(1, dtype=torch.long),
        **under("moco_encoder.trunk.", teacher),
        **mlp("moco_encoder.heads.0.clf."),
    }
    networks = {"online": feature(trunk), "ema": feature(teacher)}
    return Example("vissl", classy(trunk, loss), networks)


@example
def vissl_extracted() -> Example:
    """A trunk made to extract features, saved alone."""
    trunk = trunk_of(4)
    tree = {"model_state_dict": under("base_model.", trunk)}
    return Example("vissl", tree, {"online": feature(trunk)})


def transformer(trunk: Mapping[str, Tensor]) -> nn.Module:
    """Return what DINO's small transformer computes, at half the width and heads."""
    return published_transformer(trunk, width=192, heads=3)


@example
def vissl_dino_training() -> Example:
    """A transformer has no feature blocks; DINO's teacher is in the loss."""
    trunk, teacher = (keyed("vissl_vit_small", seed, narrow=2) for seed in (5, 6))
    loss = {
        "center": torch.zeros(1, 32),
        **under("momentum_teacher.trunk.", teacher),
        **mlp("momentum_teacher.heads.0.clf."),
    }
    networks = {"online": transformer(trunk), "ema": transformer(teacher)}
    return Example("vissl", classy(trunk, loss), networks, image=224)
