"""Checkpoints of DINOv2's and DINOv3's training: backbones with their two heads.

Source: ``facebookresearch/dinov2`` ``train/train.py`` (``teacher_checkpoint.pth`` holds
``teacher`` alone), ``train/ssl_meta_arch.py`` (``student`` and ``teacher`` in one
model), ``eval/setup.py``, which takes the teacher. The blocks may be chunked
(``blocks.2.7.``), which the naming undoes. The file that each process of a sharded
training writes holds only shares of the tensors and cannot be read.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import EMA, ONLINE, Producer, Recipe

LAYOUT = "dinov2_training"
PRODUCERS = (
    Producer("dinov2", "facebookresearch/dinov2"),
    Producer("dinov3", "facebookresearch/dinov3"),
)

_PARTS = ("", "student.", "teacher.", "model_ema.", "gram_teacher.")
_HEADS = tuple(
    f"{part}{head}." for part in _PARTS for head in ("dino_head", "ibot_head")
)

RECIPE = Recipe(
    online=("student.backbone.", "backbone."),
    ema=("teacher.backbone.",),
    containers={"teacher": EMA, "model": ONLINE},
    default=EMA,
    needs=(_HEADS,),
    outside={
        "head": _HEADS,
        "loss": ("dino_loss.", "ibot_patch_loss.", "koleo_loss.", "gram_loss."),
        "copy for another loss": ("model_ema.backbone.", "gram_teacher.backbone."),
    },
)
