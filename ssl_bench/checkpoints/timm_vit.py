"""A vision transformer in timm's names, with nothing before them.

Source: timm's ``VisionTransformer``; the official DeiT and MAE encoders have its names.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import Reading, read_flat
from ssl_bench.checkpoints.reader import Payload

LAYOUT = "timm_vit"
PRODUCERS = ("timm", "DeiT")
SIGNATURE = ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight")


def read(payload: Payload) -> Reading | None:
    """Read a flat transformer, alone or in timm's containers with its EMA."""
    return read_flat(payload, SIGNATURE)
