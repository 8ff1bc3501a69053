"""A Swin transformer V2 in timm's names: merging patches begins a stage.

Source: ``timm.models.swin_transformer_v2`` since 0.9. These files hold neither masks
nor coordinates, so that nothing in them shows the windows, those of earlier training
and the size of the images: the producer says which of the published ones they have, and
``--arch`` says others. Large networks were published with windows that grew only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import swin_buffers, timm_swin
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "timm_swin_v2"

SMALLER = (12, 12, 12, 6)
"""Windows of the training at 192 pixels, which the last map cannot hold."""

WINDOW_16 = {"windows": (16,), "size": 256, "pretrained": ()}
WINDOW_12 = {"windows": (12,), "size": 192, "pretrained": ()}
WINDOW_12_TO_16 = {"windows": (16,), "size": 256, "pretrained": SMALLER}
WINDOW_12_TO_24 = {"windows": (24,), "size": 384, "pretrained": SMALLER}
PRODUCERS = (
    Producer("timm", "timm since 0.9, windows of 8 (large: of 12 to 16)"),
    Producer("timm_window16", "timm, swinv2_*_window16_256", hidden=WINDOW_16),
    Producer("timm_window12", "timm, swinv2_*_window12_192", hidden=WINDOW_12),
    Producer(
        "timm_window12to16",
        "timm, swinv2_*_window12to16_192to256",
        hidden=WINDOW_12_TO_16,
    ),
    Producer(
        "timm_window12to24",
        "timm, swinv2_*_window12to24_192to384",
        hidden=WINDOW_12_TO_24,
    ),
)
LARGE = 192
"""Channels of the first stage of the one size without windows of 8."""


def of_size(stem: Tensor | None) -> dict[str, Any]:
    """Return the windows of a size that was never published with the usual ones.

    Args:
        stem: weight of the first projection.
    """
    is_large = stem is not None and stem.ndim > 0 and stem.shape[0] == LARGE
    return dict(WINDOW_12_TO_16) if is_large else {}


def shown(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the windows, which only the size tells."""
    return of_size(tensors.get("patch_embed.proj.weight"))


NAMING = Naming(
    LAYOUT,
    timm_swin.rename,
    anchors=timm_swin.ANCHORS,
    needs=("*.logit_scale",),
    lacks=("layers.0.downsample.",),
    drop=swin_buffers.DROP,
    shown=shown,
)
