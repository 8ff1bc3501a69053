"""Checkpoints of Barlow Twins: the backbone beside projector and last batch norm.

Source: ``facebookresearch/barlowtwins``, ``main.py``: ``checkpoint.pth``. What it
writes at the end, ``resnet50.pth``, is the backbone alone and of the layout
``resnet_flat``.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import ONLINE, Producer, Recipe

LAYOUT = "barlow_twins"
PRODUCERS = (Producer("barlow_twins", "facebookresearch/barlowtwins"),)

RECIPE = Recipe(
    online=("backbone.",),
    containers={"model": ONLINE},
    needs=(("bn.",),),
    outside={"projector": ("projector.", "bn.")},
    namings=("resnet_flat",),
)
