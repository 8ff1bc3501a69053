"""The image tower of CLIP, in OpenAI's names or as a tower of timm's in OpenCLIP.

Source: ``openai/CLIP`` ``clip/model.py`` and ``open_clip``. The feature is the class
token after the last norm: the projection into the space of texts is left out, as linear
probes do it. OpenAI's networks have an activation of their own (QuickGELU), which a
file of theirs is known by the sizes it keeps as tensors; OpenCLIP's have GELU, but for
those that were made like OpenAI's (``-quickgelu``): say ``producer=openai`` for these.
"""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints import recipe
from ssl_bench.checkpoints.layout import HEAD, Naming, Producer, Reading, Recipe, Rules
from ssl_bench.checkpoints.name_table import NameTable, spelled
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "clip"

INPUT = InputSpec(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
PRODUCERS = (
    Producer("openclip", "OpenCLIP", input=INPUT),
    Producer("openai", "OpenAI CLIP", hidden={"act": "quick_gelu"}, input=INPUT),
)

SIZES = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's files keep as tensors."""

TOP = spelled(
    {
        "class_embedding": "cls_token",
        "positional_embedding": "pos_embed",
        "conv1.weight": "patch_embed.proj.weight",
        "ln_pre.{}": "norm_pre.{}",
        "ln_post.{}": "norm.{}",
    }
)
IN_BLOCK = spelled(
    {
        "ln_1.{}": "norm1.{}",
        "ln_2.{}": "norm2.{}",
        "attn.in_proj_{}": "attn.qkv.{}",
        "attn.out_proj.{}": "attn.proj.{}",
        "ls_1.gamma": "ls1.gamma",
        "ls_2.gamma": "ls2.gamma",
        "mlp.c_fc.{}": "mlp.fc1.{}",
        "mlp.c_proj.{}": "mlp.fc2.{}",
    }
)


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give class token and positions the axes that timm has."""
    found = dict(tensors)
    token, positions = tensors.get("cls_token"), tensors.get("pos_embed")
    if token is not None and token.ndim == 1:
        found["cls_token"] = token[None, None]
    if positions is not None and positions.ndim == 2:
        found["pos_embed"] = positions[None]
    return found


NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")),
    anchors=("class_embedding", "conv1.weight", "ln_pre.weight"),
    drop={"projection into the space of texts": ("proj",)},
    finish=finish,
    hidden={"eps": 1e-5},
)
TEXT: Rules = {
    "text tower": (
        "transformer.",
        "token_embedding.",
        "positional_embedding",
        "ln_final.",
        "text_projection",
        "text.",
        "attn_mask",
    ),
    "scale of the contrast": ("logit_scale", "logit_bias"),
    "sizes": SIZES,
    "projection into the space of texts": ("visual.head.",),
}
RECIPE = Recipe(
    online=("visual.trunk.", "visual.", ""),
    needs=(("visual.", "class_embedding"),),
    outside=TEXT,
    inside=HEAD,
)


def read(payload: Payload) -> Reading | None:
    """Read the image tower, and who made it where the file tells.

    Without the sizes, a tower of OpenCLIP's own may still have OpenAI's activation.
    """
    reading = recipe.read_recipe(payload, RECIPE)
    if reading is None:
        return None
    encoders = reading.encoders.values()
    if any(one.dropped.get("sizes") for one in encoders):
        return replace(reading, producer="openai")
    is_own = any("norm_pre.weight" in one.tensors for one in encoders)
    return replace(reading, producer=None if is_own else "openclip")
