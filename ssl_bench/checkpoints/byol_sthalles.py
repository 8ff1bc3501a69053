"""Checkpoints of PyTorch-BYOL: online and target network, each in a container.

Source: ``sthalles/PyTorch-BYOL``, ``trainer.py`` and
``models/resnet_base_network.py``. The backbone is a Sequential of torchvision's ResNet;
``encoder_state_dict`` beside it is the online one once more. Its linear evaluation
takes ``online_network_state_dict``.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import EMA, ONLINE, Producer, Recipe

LAYOUT = "byol_sthalles"
PRODUCERS = (Producer("byol_sthalles", "sthalles/PyTorch-BYOL"),)

RECIPE = Recipe(
    online=("encoder.",),
    containers={"online_network_state_dict": ONLINE, "target_network_state_dict": EMA},
    outside={"projector": ("projetion.",)},
    namings=("resnet_indexed",),
)
