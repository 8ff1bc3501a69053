"""What the size of a ConvNeXt says about it."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from ssl_bench import backbones
from ssl_bench.checkpoints import timm_convnext


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_xxlarge"])
def test_the_eps_is_timms_own(name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    norms = {m.eps for m in network.modules() if isinstance(m, nn.LayerNorm)}
    state = network.state_dict()
    spec = backbones.infer(state)
    shown = {**spec.options, **timm_convnext.shown(state)}
    assert {shown["eps"]} == norms
    assert spec.name == name
