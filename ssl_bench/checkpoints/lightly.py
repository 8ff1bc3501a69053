"""Checkpoints of lightly's models: a backbone, its average, heads and queues.

Source: ``lightly-ai/lightly`` 1.6.0, ``lightly/models/modules``,
``benchmarks/imagenet`` and ``examples/pytorch_lightning``. A backbone is torchvision's
with its names, or a Sequential of its children with their numbers, or a transformer
below ``vit.`` of a masked one. Which copy is called ``backbone`` differs: the trained
one, or the average where the trained one is called ``student_backbone`` (DINO, TiCo),
``query_backbone`` (its older MoCo v2) or ``anchor_backbone`` (MSN). ``backbone`` is
what its evaluations use, and ``teacher_backbone`` where there are only student and
teacher (DINOv2, iBOT, CAPI).
"""

from __future__ import annotations

from dataclasses import replace

from ssl_bench.checkpoints.layout import EMA, ONLINE, Producer, Reading, Recipe
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.recipe import read_recipe
from ssl_bench.checkpoints.sorting import State, has_any, states

LAYOUT = "lightly"
PRODUCERS = (
    Producer("lightly", "lightly-ai/lightly"),
    Producer(
        "lightly_teacher",
        "lightly-ai/lightly with a name of its own for the trained copy (DINO, "
        "DINOv2, iBOT, CAPI, MSN, benchmarks of TiCo and of MoCo v2)",
        encoder=EMA,
    ),
)

PLAIN = "backbone."
TRAINED = ("student_backbone.", "query_backbone.", "anchor_backbone.")
AVERAGED = (
    "teacher_backbone.",
    "key_backbone.",
    "backbone_momentum.",
    "momentum_backbone.",
)
COPIES = (PLAIN, *TRAINED, *AVERAGED)
INNER = "vit."

PROJECTORS = (
    *("projection_head.", "projection_head_momentum.", "momentum_projection_head."),
    *("student_projection_head.", "teacher_projection_head."),
    *("query_projection_head.", "key_projection_head.", "anchor_projection_head."),
    *("projection_head_global.", "projection_head_global_momentum."),
    *("projection_head_local.", "projection_head_local_momentum.", "local_projector."),
)
HEADS = (
    *("student_head.", "student_cls_head.", "student_patch_head."),
    *("teacher_head.", "teacher_cls_head.", "teacher_patch_head."),
    *("student_dino_head.", "student_ibot_head."),
    *("teacher_dino_head.", "teacher_ibot_head."),
)
CLASSIFIER = ("online_classifier.",)
DECODER = ("decoder.",)

RECIPE = Recipe(
    online=(PLAIN, *TRAINED),
    ema=(*AVERAGED, PLAIN),
    containers={"state_dict": ONLINE, "": ONLINE},
    needs=((*PROJECTORS, *HEADS, *CLASSIFIER, *DECODER, *TRAINED, *AVERAGED),),
    lacks=("classifier.",),
    outside={
        "projector": PROJECTORS,
        "predictor": ("prediction_head.", "predictor."),
        "head": HEADS,
        "classifier": CLASSIFIER,
        "decoder": DECODER,
        "mask token": ("mask_token", *(f"{copy}mask_token" for copy in COPIES)),
        "prototypes": ("prototypes", "prototypes.", "smog."),
        "queue": ("queues.", "memory_bank."),
        "state of the loss": (
            *("criterion.", "criterion_global.", "criterion_local."),
            *("dino_criterion.", "ibot_criterion.", "koleo_criterion."),
            *("cls_criterion.", "patch_criterion."),
        ),
    },
)


LIGHTNING = ("pytorch-lightning_version",)


def read(payload: Payload) -> Reading | None:
    """Read a checkpoint of one of lightly's models.

    A backbone with no head beside it may be of any code base that trains with
    Lightning; it is taken for lightly's only where every key is known.
    """
    state = next(states(payload, RECIPE.containers), None)
    if state is None:
        return None
    recipe = _recipe(state)
    reading = read_recipe(payload, recipe)
    if reading is None and has_any(state.beside, LIGHTNING):
        reading = read_recipe(payload, replace(recipe, needs=()))
        reading = None if reading is None or reading.unexplained else reading
    has_trained = has_any(state.entries, TRAINED)
    own = PRODUCERS[1 if has_trained else 0].name
    return None if reading is None else replace(reading, producer=own)


def _recipe(state: State) -> Recipe:
    """Return which copies a file holds, and under which names."""
    there = {copy: _place(state, copy) for copy in COPIES}
    found = {copy: place for copy, place in there.items() if place is not None}
    trained = next((copy for copy in TRAINED if copy in found), PLAIN)
    averaged = AVERAGED if trained == PLAIN else (*AVERAGED, PLAIN)
    average = next((copy for copy in averaged if copy in found), None)
    return replace(
        RECIPE,
        online=(found.get(trained, trained),),
        ema=() if average is None else (found[average],),
    )


def _place(state: State, copy: str) -> str | None:
    """Return the prefix of a copy, down to the transformer of a masked one."""
    for prefix in (f"{copy}{INNER}", copy):
        if any(key.startswith(prefix) for key in state.entries):
            return prefix
    return None
