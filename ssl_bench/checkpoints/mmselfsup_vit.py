"""A vision transformer in OpenMMLab's names, already extracted.

Source: ``mmcls.models.VisionTransformer`` and its successor in MMPretrain.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints.layout import Reading, read_flat
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "mmselfsup_vit"
PRODUCERS = ("files extracted by MMSelfSup", "MMPretrain")
SIGNATURE = ("patch_embed.projection.weight", "layers.0.ln1.weight")

TOP = {
    "patch_embed.projection.": "patch_embed.proj.",
    "ln1.": "norm.",
    "ln2.": "fc_norm.",
}
IN_BLOCK = {
    "ln1.": "norm1.",
    "ln2.": "norm2.",
    "attn.qkv.": "attn.qkv.",
    "attn.proj.": "attn.proj.",
    "attn.gamma1.weight": "ls1.gamma",
    "ffn.layers.0.0.": "mlp.fc1.",
    "ffn.layers.1.": "mlp.fc2.",
    "ffn.gamma2.weight": "ls2.gamma",
}
_BLOCK = re.compile(r"layers\.(\d+)\.(.+)")


def rename(key: str) -> str:
    """Return timm's name of a tensor; unknown names pass unchanged."""
    found = _BLOCK.fullmatch(key)
    head, rest = (f"blocks.{found[1]}.", found[2]) if found else ("", key)
    for theirs, ours in (IN_BLOCK if found else TOP).items():
        if rest.startswith(theirs):
            return f"{head}{ours}{rest[len(theirs) :]}"
    return key


def read(payload: Payload) -> Reading | None:
    """Read an extracted transformer of OpenMMLab."""
    return read_flat(payload, SIGNATURE, rename=rename)
