"""Checkpoints of VISSL: the trunk, and the teacher that a loss keeps.

Source: ``vissl`` 0.1.6 (PyPI), ``vissl/models/base_ssl_model.py``,
``vissl/models/trunks``, ``vissl/hooks`` and ``extra_scripts``; Classy Vision 0.7.0,
``tasks/classification_task.py``. A ResNet is a dictionary of ``_feature_blocks``, below
``base_model.`` where a trunk was made to extract features; a transformer has timm's
names with nothing before them. Extracted files have ``model_state_dict``. DINO, MoCo
and SwAV with momentum keep a whole second model in the state of the loss, heads
included. VISSL evaluates the trunk.
"""

from __future__ import annotations

from dataclasses import replace

from ssl_bench.checkpoints.layout import EMA, ONLINE, Producer, Reading, Recipe
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.recipe import read_recipe

LAYOUT = "vissl"
PRODUCERS = (Producer("vissl", "facebookresearch/vissl"),)

TRUNK = "classy_state_dict.base_model.model.trunk"
LOSS = "classy_state_dict.loss"
BLOCKS = ("_feature_blocks.", "base_model._feature_blocks.")
MODELS = tuple(
    f"{name}.{wrapper}"
    for name in ("momentum_teacher", "momentum_encoder", "moco_encoder")
    for wrapper in ("", "module.")
)
MOST_HEADS = 10
"""Sets of prototypes whose queues SwAV with momentum numbers; it is used with three."""

RECIPE = Recipe(
    online=BLOCKS,
    ema=tuple(f"{model}trunk." for model in MODELS),
    containers={TRUNK: ONLINE, "model_state_dict": ONLINE, LOSS: EMA},
    outside={
        "head": tuple(f"{model}heads." for model in MODELS),
        "state of the loss": (
            *("center", "queue", "queue_ptr", "num_iteration", "local_emb_queue"),
            *(f"local_queue{head}" for head in range(MOST_HEADS)),
        ),
    },
    namings=("resnet_flat",),
)
TRANSFORMER = replace(RECIPE, online=("",), containers={TRUNK: ONLINE}, namings=())
TEACHERS = (
    replace(
        RECIPE,
        online=tuple(f"{place}_feature_blocks." for place in RECIPE.ema),
        ema=(),
        containers={LOSS: EMA},
    ),
    replace(RECIPE, online=RECIPE.ema, ema=(), containers={LOSS: EMA}, namings=()),
)


def read(payload: Payload) -> Reading | None:
    """Read a checkpoint of VISSL, with the teacher of its loss where there is one."""
    trunk = read_recipe(payload, RECIPE) or read_recipe(payload, TRANSFORMER)
    if trunk is None:
        return None
    found = (read_recipe(payload, recipe) for recipe in TEACHERS)
    teacher = next((reading for reading in found if reading is not None), None)
    if teacher is None:
        return trunk
    return replace(trunk, encoders={**teacher.encoders, **trunk.encoders})
