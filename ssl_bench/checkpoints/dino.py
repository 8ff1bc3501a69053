"""Checkpoints of DINO and EsViT: student and teacher, each a backbone and a head.

Source: ``facebookresearch/dino`` ``main_dino.py`` (what is saved), ``utils.py``
(``MultiCropWrapper``) and ``eval_linear.py``, which takes the teacher and the class
token after the last norm; its ViT-S is published with those of four blocks joined. The
student lies in DistributedDataParallel, the teacher only where it has batch norms. A
file of nothing but ``teacher`` may be of iBOT too: without the head they are the same.
``microsoft/esvit`` ``main_esvit.py`` saves the same with the heads inside the backbone,
which has no prefix then; a Swin transformer is always its. MSN's ``linear_eval.py``
also calls its encoder ``teacher``.
"""

from __future__ import annotations

from dataclasses import replace

from ssl_bench.checkpoints import recipe
from ssl_bench.checkpoints.layout import (
    EMA,
    HEAD,
    ONLINE,
    Producer,
    Reading,
    Recipe,
)
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "dino"
ESVIT = "esvit"
PRODUCERS = (
    Producer("dino", "facebookresearch/dino"),
    Producer(ESVIT, "microsoft/esvit", hidden={"eps": 1e-6}),
    Producer("ibot", "bytedance/ibot, the teacher without its head"),
    Producer("msn", "facebookresearch/msn, after its linear evaluation"),
)
RECIPE = Recipe(
    online=("backbone.", ""),
    containers={"teacher": EMA, "student": ONLINE},
    default=EMA,
    lacks=(
        "head.last_layer2.",
        "head.mlp2.",
        "backbone.masked_embed",
        "dino_head.",
        "ibot_head.",
    ),
    outside={"head": ("head.", "head_dense.")},
    inside={**HEAD, "head of the patches": ("head_dense.",)},
)

_OF_A_SWIN = "layers.0.blocks.0.attn.relative_position_bias_table"


def read(payload: Payload) -> Reading | None:
    """Read both networks; a Swin transformer says who wrote the file."""
    reading = recipe.read_recipe(payload, RECIPE)
    if reading is None:
        return None
    is_swin = any(_OF_A_SWIN in one.tensors for one in reading.encoders.values())
    return replace(reading, producer=ESVIT) if is_swin else reading
