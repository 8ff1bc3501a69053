"""Windows over maps of any size, for a Swin transformer V1.

Axes: B batch, H and W of maps, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.swin_transformer import (
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn


class AnySizeBlock(SwinTransformerBlock):  # type: ignore[misc]
    """Cut a map of any size into windows, as detectors and segmentors do.

    The map is filled up to whole windows before it is shifted: timm shifts first, and
    its mask then does not know where the map's two ends meet.

    Source: Liu et al., Swin-Transformer-Object-Detection, swin_transformer.py.
    """

    window_size: tuple[int, int]
    shift_size: tuple[int, int]
    window_area: int
    _masks: dict[tuple[int, int, torch.dtype, torch.device], Tensor]

    def _attn(self, map_BHWC: Tensor) -> Tensor:
        height, width, channels = map_BHWC.shape[1:]
        (win_h, win_w), (down, right) = self.window_size, self.shift_size
        filled = nn.functional.pad(
            map_BHWC, (0, 0, 0, -width % win_w, 0, -height % win_h)
        )
        if down or right:
            filled = torch.roll(filled, shifts=(-down, -right), dims=(1, 2))
        full_h, full_w = filled.shape[1:3]
        windows = window_partition(filled, self.window_size)
        mixed = self.attn(
            windows.view(-1, self.window_area, channels), mask=self._mask(filled)
        )
        mixed = mixed.view(-1, win_h, win_w, channels)
        filled = window_reverse(mixed, self.window_size, full_h, full_w)
        if down or right:
            filled = torch.roll(filled, shifts=(down, right), dims=(1, 2))
        return filled[:, :height, :width].contiguous()

    def _mask(self, filled_BHWC: Tensor) -> Tensor | None:
        """Return what keeps two ends of the map apart that share a window."""
        if not any(self.shift_size):
            return None
        full_h, full_w = filled_BHWC.shape[1:3]
        key = (full_h, full_w, filled_BHWC.dtype, filled_BHWC.device)
        if key not in self._masks:
            self._masks.clear()  # sizes come and go; one is enough within a batch
            self._masks[key] = self.get_attn_mask(filled_BHWC)
        return self._masks[key]


def let_any_size(block: Any, *, shifted: bool) -> None:
    """Turn a block of timm's into one for maps of any size; its weights stay.

    Args:
        block: timm's ``SwinTransformerBlock``.
        shifted: whether it is one of those whose windows are shifted. At the network's
            own size a map of one window is not shifted; at others it is.
    """
    block.__class__ = AnySizeBlock
    block.shift_size = tuple(edge // 2 if shifted else 0 for edge in block.window_size)
    block.register_buffer("attn_mask", None, persistent=False)
    block._masks = {}
