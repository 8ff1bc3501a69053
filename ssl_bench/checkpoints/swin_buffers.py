"""What a Swin transformer computes for itself, and what that shows of its sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.backbones.swin_names import filled
from ssl_bench.checkpoints.layout import Rules

DROP: Rules = {
    "relative_position_index": ("*.relative_position_index",),
    "relative_coords_table": ("*.relative_coords_table",),
    "attn_mask": ("*.attn_mask",),
}
_MASK_AXES = 3
_IMAGE_AXES = 4
_SPAN = 8
"""V2 scales relative coordinates to plus and minus 8 before it takes logarithms."""


def shown(tensors: Mapping[str, Tensor], attention: str) -> dict[str, Any]:
    """Return the options of the architecture that computed tensors show.

    Args:
        tensors: of one network, in its producer's names.
        attention: prefix of an attention, with ``{stage}`` and ``{block}``.

    Returns:
        ``size`` and ``windows`` where there is a mask, ``windows`` and ``pretrained``
        where there are tables of coordinates.
    """
    windows: list[int] = []
    scales: list[int] = []
    while True:
        start = attention.format(stage=len(windows), block=0)
        table = tensors.get(f"{start}relative_coords_table")
        if table is None or table.ndim != 4 or not table.is_floating_point():
            break
        if not table.numel():
            break
        window = (table.shape[1] + 1) // 2
        windows.append(window)
        seen = not table.is_meta
        scales.append(_scale(float(table.max()), window) if seen else window)
    found: dict[str, Any] = {}
    if windows:
        found["windows"] = tuple(windows)
        found["pretrained"] = tuple(scales) if scales != windows else ()
    mask = _mask(tensors, attention)
    stem = tensors.get("patch_embed.proj.weight")
    if mask is not None and stem is not None and stem.ndim == _IMAGE_AXES:
        window = math.isqrt(mask.shape[1])
        found.setdefault("windows", (window,))
        found["size"] = math.isqrt(mask.shape[0]) * window * int(stem.shape[2])
    return found


def with_size(found: Mapping[str, Any], stem: Tensor | None) -> dict[str, Any]:
    """Add the size of the images that windows fill, where there are windows.

    Args:
        found: what `shown` returned.
        stem: weight of the first projection.
    """
    if "windows" not in found or stem is None or stem.ndim != _IMAGE_AXES:
        return dict(found)
    return {"size": filled(found["windows"], int(stem.shape[2])), **found}


def _scale(largest: float, window: int) -> int:
    """Return the window that the largest coordinate was divided by."""
    if window < 2 or not 0 < largest < math.inf:
        return window
    span = (2 ** (largest * math.log2(_SPAN)) - 1) / _SPAN
    return round((window - 1) / span) + 1


def _mask(tensors: Mapping[str, Tensor], attention: str) -> Tensor | None:
    """Return the first stage's mask: one row per window, one column per patch of it.

    The second block of a stage shifts its windows, unless one window is the map.
    """
    block = attention.format(stage=0, block=1).removesuffix("attn.")
    mask = tensors.get(f"{block}attn_mask")
    return mask if mask is not None and mask.ndim == _MASK_AXES else None
