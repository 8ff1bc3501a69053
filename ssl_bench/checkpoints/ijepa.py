"""Checkpoints of I-JEPA: an encoder, its target and the predictor.

Source: ``facebookresearch/ijepa`` ``src/train.py`` (what is saved) and
``src/models/vision_transformer.py``. There is no class token; the paper evaluates the
target encoder by the mean of its patch tokens after the last norm.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import EMA, ONLINE, Producer, Recipe

LAYOUT = "ijepa"
PRODUCERS = (Producer("ijepa", "facebookresearch/ijepa"),)
RECIPE = Recipe(
    containers={"target_encoder": EMA, "encoder": ONLINE},
    default=EMA,
    lacks=("cls_token", "backbone."),
)
