"""The image tower of CLIP as timm's vision transformer, with nothing before its names.

Source: timm's ``vit_*_clip_*`` models. The tokens are normed before the blocks, which
no other vision transformer of timm's does; the norms add 1e-5. The activation is GELU;
OpenAI's, Apple's and Meta's (MetaCLIP) weights need another one (QuickGELU), and timm
calls these ``vit_*_clip_quickgelu_*``.
"""

from __future__ import annotations

from dataclasses import replace

from ssl_bench.checkpoints import clip, timm_vit
from ssl_bench.checkpoints.layout import Producer

LAYOUT = "timm_clip"
PRODUCERS = (
    Producer("timm", "timm, vit_*_clip_*", input=clip.INPUT),
    Producer(
        "timm_quickgelu",
        "timm, vit_*_clip_quickgelu_*",
        hidden={"act": "quick_gelu"},
        input=clip.INPUT,
    ),
)
NAMING = replace(
    timm_vit.NAMING,
    name=LAYOUT,
    needs=("norm_pre.",),
    lacks=tuple(key for key in timm_vit.NAMING.lacks if key != "norm_pre."),
    hidden={"eps": 1e-5},
)
