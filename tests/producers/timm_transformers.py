"""Files of timm's transformers whose names are those of its plain ones."""

from __future__ import annotations

import timm

from tests.producers.example import Example, drawn, example
from tests.producers.small import token_feature

IMAGE = 32
SMALL = {"img_size": IMAGE, "depth": 2, "weight_init": "skip"}


@example
def timm_dinov3_without_biases() -> Example:
    """Rotary positions and no bias: all other names are a ViT's."""
    network = drawn(
        timm.create_model("vit_small_patch16_dinov3", img_size=IMAGE, depth=2), 701
    )
    return Example("dinov3", network.state_dict(), {"online": token_feature(network)})


@example
def timm_clip() -> Example:
    network = drawn(timm.create_model("vit_xsmall_patch16_clip_224", **SMALL), 702)
    state = network.state_dict()
    return Example("timm_clip", state, {"online": token_feature(network)})


@example
def timm_clip_quickgelu() -> Example:
    """OpenAI's activation, which no tensor shows."""
    network = drawn(
        timm.create_model(
            "vit_base_patch32_clip_quickgelu_224", embed_dim=64, num_heads=1, **SMALL
        ),
        703,
    )
    return Example(
        "timm_clip",
        network.state_dict(),
        {"online": token_feature(network)},
        options={"producer": "timm_quickgelu"},
    )
