"""Files of producers that nobody foresaw: a known network below some prefix."""

from __future__ import annotations

import torch

from tests.producers.example import Example, example, mlp, trunk, under
from tests.producers.small import resnet, resnet_feature, timm_vit, token_feature


@example
def unforeseen_prefix() -> Example:
    state = {
        **under("net.trunk.", trunk(resnet(8).state_dict())),
        **mlp("net.projection."),
        "temperature": torch.ones(1),
    }
    tree = {"weights": {"network": state}, "step": 3}
    return Example("structure", tree, {"online": resnet_feature(resnet(8))})


@example
def unforeseen_teacher() -> Example:
    online, ema = timm_vit(5), timm_vit(12)
    state = {
        **under("learner.vit.", online.state_dict()),
        **under("learner_ema.vit.", ema.state_dict()),
        **mlp("learner.mlp."),
    }
    networks = {"online": token_feature(online), "ema": token_feature(ema)}
    return Example("structure", state, networks)
