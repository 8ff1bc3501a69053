"""State dicts of byol-pytorch's learner: online and target network with projectors.

Source: ``lucidrains/byol-pytorch`` (PyPI ``byol-pytorch`` 0.9.1),
``byol_pytorch/byol_pytorch.py``. The learner names the user's network twice, ``net.``
and ``online_encoder.net.``; what its own trainer saves is that network alone, as flat
as the user made it.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import Producer, Recipe

LAYOUT = "byol_pytorch"
PRODUCERS = (Producer("byol_pytorch", "lucidrains/byol-pytorch"),)

RECIPE = Recipe(
    online=("online_encoder.net.",),
    ema=("target_encoder.net.",),
    outside={
        "alias of the network": ("net.",),
        "projector": ("online_encoder.projector.", "target_encoder.projector."),
        "predictor": ("online_predictor.",),
    },
)
