"""Checkpoints of MoCo v1 and v2: a query encoder, its momentum copy and a queue.

Source: ``facebookresearch/moco``, ``moco/builder.py`` and ``main_moco.py``. The
projector is the ``fc`` of each encoder; ``main_lincls.py`` takes ``encoder_q``.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import ONLINE, Producer, Recipe

LAYOUT = "moco"
PRODUCERS = (Producer("moco", "facebookresearch/moco (v1, v2)"),)

RECIPE = Recipe(
    online=("encoder_q.",),
    ema=("encoder_k.",),
    containers={"state_dict": ONLINE},
    outside={"queue": ("queue", "queue_ptr")},
    namings=("resnet_flat",),
)
