"""Checkpoints of MSN: an encoder, its target and the prototypes.

Source: ``facebookresearch/msn`` ``src/msn_train.py`` (what is saved; the projector is
``fc``), ``linear_eval.py`` and ``logistic_eval.py``: both take ``target_encoder`` and
the class token of the last block without the final norm, which only feeds the
projector. ``--prefix target_encoder.`` gives the network with its norm, as Hugging Face
has it.
"""

from __future__ import annotations

from dataclasses import replace

from ssl_bench.checkpoints import recipe
from ssl_bench.checkpoints.layout import (
    EMA,
    HEAD,
    ONLINE,
    Encoder,
    Producer,
    Reading,
    Recipe,
    Rules,
)
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import matches

LAYOUT = "msn"
PRODUCERS = (Producer("msn", "facebookresearch/msn"),)

UNUSED: Rules = {"final norm, unused in its evaluation": ("norm.",)}
RECIPE = Recipe(
    containers={"target_encoder": EMA, "encoder": ONLINE},
    default=EMA,
    needs=(("cls_token",), ("fc.fc1.",)),
    inside={**HEAD, "prediction head": ("pred.",), **UNUSED},
)


def read(payload: Payload) -> Reading | None:
    """Read both encoders, up to the last block."""
    reading = recipe.read_recipe(payload, RECIPE)
    if reading is None:
        return None
    encoders = {name: _without_norm(old) for name, old in reading.encoders.items()}
    return replace(reading, encoders=encoders)


def _without_norm(encoder: Encoder) -> Encoder:
    """Move the final norm to what a rule drops."""
    left = {name: rule for name in encoder.names if (rule := matches(name, UNUSED))}
    dropped = {rule: tuple(keys) for rule, keys in encoder.dropped.items()}
    for name, rule in left.items():
        dropped[rule] = (*dropped.get(rule, ()), *encoder.names[name])
    return replace(
        encoder,
        tensors={n: t for n, t in encoder.tensors.items() if n not in left},
        names={n: keys for n, keys in encoder.names.items() if n not in left},
        dropped=dropped,
    )
