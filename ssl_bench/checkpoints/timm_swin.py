"""A Swin transformer in timm's names: merging patches begins a stage.

Source: ``timm.models.swin_transformer`` since 0.9. The masks are not in these files:
where the size of the images is not the published one, ``--arch`` says it.
"""

from __future__ import annotations

from ssl_bench.checkpoints import swin, swin_buffers
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "timm_swin"
PRODUCERS = (Producer("timm", "timm since 0.9"),)

ANCHORS = (
    "patch_embed.proj.weight",
    "layers.0.blocks.0.attn.qkv.weight",
    "layers.1.downsample.reduction.weight",
)


def rename(key: str) -> str | None:
    """Return timm's name of a tensor; None for others."""
    return key if swin.is_tensor(key) else None


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=ANCHORS,
    needs=("layers.0.blocks.",),
    lacks=("layers.0.downsample.", "*.logit_scale"),
    drop=swin_buffers.DROP,
)
