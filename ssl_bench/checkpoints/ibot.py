"""Checkpoints of iBOT: student and teacher, each a backbone and a head for two losses.

Source: ``bytedance/ibot`` ``main_ibot.py``, ``models/head.py`` (``last_layer2``, or
``mlp2`` without a bottleneck, is for the patches) and ``models/vision_transformer.py``:
only the student has ``masked_embed``. ``evaluation/eval_linear.py`` takes the teacher.
What ``extract_backbone_weights.py`` makes of it is a flat transformer.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import EMA, HEAD, ONLINE, Producer, Recipe

LAYOUT = "ibot"
PRODUCERS = (Producer("ibot", "bytedance/ibot"),)
RECIPE = Recipe(
    online=("backbone.",),
    containers={"teacher": EMA, "student": ONLINE},
    default=EMA,
    needs=(("head.last_layer2.", "head.mlp2.", "backbone.masked_embed"),),
    lacks=("dino_head.", "ibot_head."),
    outside={"head": ("head.",)},
    inside={**HEAD, "mask token": ("masked_embed",)},
    hidden={"eps": 1e-6},
)
