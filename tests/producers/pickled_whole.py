"""Networks that were pickled whole, beside the state of a training."""

from __future__ import annotations

import torch
from torch import nn

from tests.producers.example import Example, example
from tests.producers.small import resnet, resnet_feature, timm_vit, token_feature


@example
def pickled_resnet() -> Example:
    return Example("resnet_flat", resnet(8), {"online": resnet_feature(resnet(8))})


@example
def pickled_in_a_container() -> Example:
    network = timm_vit(5)
    wrapped = nn.DataParallel(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    tree = {"model": wrapped, "optimizer": optimizer, "epoch": 7}
    return Example("timm_vit", tree, {"online": token_feature(network)})
