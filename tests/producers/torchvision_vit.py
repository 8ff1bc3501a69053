"""Files of torchvision's transformer as its first version named them."""

from __future__ import annotations

import torchvision
from torch import nn

from tests.producers.example import Example, drawn, example

IMAGE = 32


@example
def torchvision_vit_older() -> Example:
    """torchvision itself still reads the older names of the MLP."""
    network = torchvision.models.VisionTransformer(
        image_size=IMAGE,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=128,
        mlp_dim=192,
    )
    state = drawn(network, 801).state_dict()
    older = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for key, value in state.items()
    }
    network.load_state_dict(older, strict=True)
    network.heads = nn.Identity()
    return Example("torchvision_vit", older, {"online": network})
