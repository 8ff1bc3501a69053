"""MMSelfSup 0.x, by the names and shapes that its own classes gave them.

No version of it runs with today's mmcv. What it computes is shown by MMPretrain's
classes, which take its backbones strictly; MMPretrain is what it became.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.producers.example import Example, Pooled, example
from tests.producers.keys import below, keyed
from tests.producers.openmmlab_algorithms import (
    HEADS_12,
    RESNET,
    SIMMIM,
    built,
    feature,
    vit,
)

ALIASES = {
    "densecl": {"backbone.": "encoder_q.0."},
    "interclr": {"backbone.": "encoder_q.0.", "neck.": "encoder_q.1."},
    "mocov1": {"backbone.": "encoder_q.0.", "neck.": "encoder_q.1."},
    "mocov2": {"backbone.": "encoder_q.0.", "neck.": "encoder_q.1."},
    "mocov3": {"backbone.": "base_encoder.0.", "neck.": "base_encoder.1."},
    "byol": {"backbone.": "online_net.0.", "neck.": "online_net.1."},
    "simsiam": {"backbone.": "encoder.0.", "neck.": "encoder.1."},
    "swav": {"neck.projection_neck.1.": "neck.bn."},
}
"""Names of one and the same tensors; the lists of keys say so under ``same``."""

AVERAGES = {
    "densecl": "encoder_k.0.",
    "interclr": "encoder_k.0.",
    "mocov1": "encoder_k.0.",
    "mocov2": "encoder_k.0.",
    "mocov3": "momentum_encoder.0.",
    "byol": "target_net.0.",
    "cae": "teacher.",
}
SOBEL = [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]


def loaded(config: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """Return MMPretrain's network with all the tensors of a 0.x backbone."""
    network = built(config, 0)
    network.load_state_dict(state, strict=True)
    network.eval()
    return network


def register(name: str, backbone: dict[str, Any], image: int = 32) -> None:
    """Register the file of one algorithm."""

    def build() -> Example:
        state = keyed(f"mmselfsup_{name}", narrow=4 if backbone is RESNET else 1)
        for alias, main in ALIASES.get(name, {}).items():
            for key, tensor in below(main, state).items():
                state[f"{alias}{key}"] = tensor
        for key, tensor in built(backbone, 0).state_dict().items():
            if key.endswith("relative_position_index"):
                state[f"backbone.{key}"] = tensor
        copies = {"online": "backbone."}
        if name in AVERAGES:
            copies["ema"] = AVERAGES[name]
        networks = {
            copy: feature(loaded(backbone, below(prefix, state)))
            for copy, prefix in copies.items()
        }
        tree = {
            "meta": {"mmselfsup_version": "0.11.0", "epoch": 200},
            "state_dict": state,
            "optimizer": {"state": {}, "param_groups": []},
        }
        return Example("mmselfsup", tree, networks, image=image)

    build.__name__ = f"mmselfsup_0x_{name}"
    example(build)


for _name in (
    "barlowtwins",
    "byol",
    "densecl",
    "interclr",
    "mocov1",
    "mocov2",
    "npid",
    "odc",
    "relative_loc",
    "rotation_pred",
    "simclr",
    "simsiam",
    "swav",
):
    register(_name, RESNET)
register("mae", vit("MAEViT"))
register("maskfeat", vit("MaskFeatViT"))
register("mocov3", vit("MoCoV3ViT", arch=HEADS_12))
register("cae", vit("CAEPretrainViT", layer_scale_init_value=0.1, bias="qv_bias"))
register("simmim", SIMMIM["backbone"], image=64)


@example
def mmselfsup_0x_deepcluster_sobel() -> Example:
    """The grey image's two gradients go into a network of two channels."""
    state = keyed("mmselfsup_deepcluster", narrow=4)
    kernel = torch.tensor(SOBEL)
    state["sobel_layer.sobel.0.weight"] = torch.full((1, 3, 1, 1), 1 / 3)
    state["sobel_layer.sobel.0.bias"] = torch.zeros(1)
    state["sobel_layer.sobel.1.weight"] = torch.stack([kernel, kernel.T])[:, None]
    state["sobel_layer.sobel.1.bias"] = torch.zeros(2)
    grey, gradients = nn.Conv2d(3, 1, 1), nn.Conv2d(1, 2, 3, padding=1)
    filters = nn.Sequential(grey, gradients)
    filters.load_state_dict(below("sobel_layer.sobel.", state), strict=True)
    inner = feature(loaded({**RESNET, "in_channels": 2}, below("backbone.", state)))
    network = Pooled(inner, lambda images: inner(filters(images)))
    return Example("mmselfsup", {"state_dict": state}, {"online": network})


@example
def mmcls_ema_hook() -> Example:
    """mmcv's hook keeps the online weights under names without dots."""
    state = keyed("mmcls_ema_hook")
    config = {**RESNET, "type": "ResNetV1d"}
    average = below("backbone.", state)
    online = {
        key: state.get(f"ema_backbone_{key.replace('.', '_')}", tensor)
        for key, tensor in average.items()
    }
    networks = {
        "ema": feature(loaded(config, average)),
        "online": feature(loaded(config, online)),
    }
    tree = {"meta": {"mmcls_version": "0.25.0"}, "state_dict": state}
    return Example("mmselfsup", tree, networks, "ema")
