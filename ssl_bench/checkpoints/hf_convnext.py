"""ConvNeXt of either version in Hugging Face's transformers.

Source: ``transformers.models.convnext`` and ``convnextv2``. The norm after the pooling
has the eps of the configuration, 1e-12 by default, where all others have 1e-6.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.convnext import AFFINE, finish, our_name
from ssl_bench.checkpoints.layout import Naming, Producer, Recipe

LAYOUT = "hf_convnext"
PRODUCERS = (Producer("huggingface", "Hugging Face transformers, ConvNext"),)

_KEY = re.compile(
    rf"embeddings\.(?P<stem>patch_embeddings|layernorm)\.(?P<stemkind>{AFFINE})"
    rf"|encoder\.stages\.(?P<stage>[0-3])\.(?:downsampling_layer\.(?P<part>[01]\.{AFFINE})"
    r"|layers\.(?P<block>\d+)\.(?:(?P<gamma>layer_scale_parameter)"
    rf"|(?P<layer>dwconv|layernorm|pwconv1|pwconv2|grn)\.(?P<kind>{AFFINE})))"
    rf"|layernorm\.(?P<last>{AFFINE})"
)
_STEM = {"patch_embeddings": "0", "layernorm": "1"}
_LAYERS = {
    "dwconv": "conv_dw",
    "layernorm": "norm",
    "pwconv1": "mlp.fc1",
    "pwconv2": "mlp.fc2",
    "grn": "mlp.grn",
}


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no ConvNeXt has."""
    found = _KEY.fullmatch(key)
    if found and found["stem"]:
        return f"stem.{_STEM[found['stem']]}.{found['stemkind']}"
    return our_name(found, _LAYERS)


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "embeddings.patch_embeddings.weight",
        "encoder.stages.0.layers.0.dwconv.weight",
        "encoder.stages.3.layers.0.dwconv.weight",
    ),
    finish=finish,
    hidden={"final_eps": 1e-12},
)
RECIPE = Recipe(
    online=("convnext.", "convnextv2.", ""),
    outside={"head": ("classifier.",)},
    namings=(LAYOUT,),
)
