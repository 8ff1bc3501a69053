"""Checkpoints of SwAV, DeepCluster-v2 and SeLa-v2: a ResNet with its heads beside it.

Source: ``facebookresearch/swav``, ``src/resnet50.py`` and ``main_swav.py``. The models
for download are flat, training files have a ``state_dict``; both have ``module.``
before every key and projector and prototypes beside the network. Its stem pads by
a layer of its own, which comes to torchvision's padding.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import HEAD, ONLINE, Producer, Recipe

LAYOUT = "swav"
PRODUCERS = (Producer("swav", "facebookresearch/swav (SwAV, DeepCluster-v2, SeLa-v2)"),)

HEADS = ("projection_head.", "prototypes.")
RECIPE = Recipe(
    containers={"state_dict": ONLINE, "": ONLINE},
    needs=(HEADS,),
    inside={**HEAD, "projector": HEADS[:1], "prototypes": HEADS[1:]},
    namings=("resnet_flat",),
)
