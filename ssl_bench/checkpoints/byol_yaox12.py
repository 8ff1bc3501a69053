"""Checkpoints of BYOL-PyTorch with apex: online and target network in one state dict.

Source: ``yaox12/BYOL-PyTorch``, ``trainer/byol_trainer.py``, ``model/byol_model.py``
and ``model/basic_modules.py``. The backbone is a Sequential of torchvision's ResNet.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import ONLINE, Producer, Recipe

LAYOUT = "byol_yaox12"
PRODUCERS = (Producer("byol_yaox12", "yaox12/BYOL-PyTorch"),)

RECIPE = Recipe(
    online=("online_network.encoder.",),
    ema=("target_network.encoder.",),
    containers={"model": ONLINE},
    outside={
        "projector": ("online_network.projetion.", "target_network.projetion."),
        "predictor": ("predictor.",),
    },
    namings=("resnet_indexed",),
)
