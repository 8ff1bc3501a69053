"""Checkpoints of VICReg: the backbone beside its projector.

Source: ``facebookresearch/vicreg``, ``main_vicreg.py`` (it writes ``model.pth``) and
``resnet.py``. What it writes at the end, ``resnet50.pth``, is the backbone alone and of
the layout ``resnet_flat``. Its stem pads by a layer of its own, which comes to
torchvision's padding.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import ONLINE, Producer, Recipe

LAYOUT = "vicreg"
PRODUCERS = (Producer("vicreg", "facebookresearch/vicreg"),)

RECIPE = Recipe(
    online=("backbone.",),
    containers={"model": ONLINE},
    needs=(("projector.",),),
    lacks=("bn.",),
    outside={"projector": ("projector.",)},
    namings=("resnet_flat",),
)
