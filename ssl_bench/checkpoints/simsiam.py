"""Checkpoints of SimSiam: one encoder, its projector in ``fc``, and a predictor.

Source: ``facebookresearch/simsiam``, ``simsiam/builder.py`` and ``main_simsiam.py``.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import ONLINE, Producer, Recipe

LAYOUT = "simsiam"
PRODUCERS = (Producer("simsiam", "facebookresearch/simsiam"),)

RECIPE = Recipe(
    online=("encoder.",),
    containers={"state_dict": ONLINE},
    needs=(("predictor.",),),
    outside={"predictor": ("predictor.",)},
    namings=("resnet_flat",),
)
