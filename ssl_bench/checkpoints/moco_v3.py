"""Checkpoints of MoCo v3: a base encoder and its momentum copy, ResNet or ViT.

Source: ``facebookresearch/moco-v3``, ``moco/builder.py``, ``main_moco.py`` and
``vits.py``: small and base have 12 heads both, which no shape shows. The projector is
the ``fc`` or ``head`` of each encoder; its linear evaluation takes ``base_encoder``.
What its ``convert_to_deit.py`` writes has timm's names and is of the layout
``timm_vit``, where the heads have to be said.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import ONLINE, Producer, Recipe

LAYOUT = "moco_v3"
PRODUCERS = (Producer("moco_v3", "facebookresearch/moco-v3"),)

RECIPE = Recipe(
    online=("base_encoder.",),
    ema=("momentum_encoder.",),
    containers={"state_dict": ONLINE},
    outside={"predictor": ("predictor.",)},
    namings=("resnet_flat", "timm_vit"),
    hidden={"heads": 12},
)
