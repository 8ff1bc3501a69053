"""The window attention of a Swin transformer V2, as an inference copy computes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LARGEST_SCALE = 100.0
BIAS_RANGE = 16.0
_EPS = 1e-12
"""What timm divides by where a query or key is zero; float16 knows no such number."""


class FoldedAttention(nn.Module):
    """Compute cosine attention in a window, its biases made once.

    The keys of padding are zero and have no bias: in float16, timm divides them by
    zero.

    Args:
        attention: timm's, whose weights this shares.
    """

    bias_HNN: Tensor
    scale_H11: Tensor

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads: int = attention.num_heads
        self.qkv = nn.Linear(attention.dim, 3 * attention.dim)
        self.qkv.weight = attention.qkv.weight
        joint = (attention.q_bias, attention.k_bias, attention.v_bias)
        self.qkv.bias = nn.Parameter(torch.cat(joint), requires_grad=False)
        self.proj = attention.proj
        largest = torch.tensor(LARGEST_SCALE).log().item()
        scale = attention.logit_scale.clamp(max=largest).exp()
        self.register_buffer("scale_H11", scale)
        table = attention.cpb_mlp(attention.relative_coords_table)
        area = attention.window_size[0] * attention.window_size[1]
        index = attention.relative_position_index.flatten()
        chosen = table.view(-1, self.heads)[index].view(area, area, self.heads)
        bias = BIAS_RANGE * chosen.permute(2, 0, 1).sigmoid()
        self.register_buffer("bias_HNN", bias.contiguous())

    def forward(self, x_WND: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within windows.

        Args:
            x_WND: tokens by window, all images one after the other.
            mask: by window of an image, (windows, N, N); None for no mask.
        """
        count, area, width = x_WND.shape
        split = self.qkv(x_WND).view(count, area, 3, self.heads, -1)
        q_WHND, k_WHND, v_WHND = split.permute(2, 0, 3, 1, 4).unbind(0)
        eps = max(_EPS, torch.finfo(x_WND.dtype).tiny)
        q_WHND = nn.functional.normalize(q_WHND, dim=-1, eps=eps)
        k_WHND = nn.functional.normalize(k_WHND, dim=-1, eps=eps)
        weights = q_WHND @ k_WHND.transpose(-2, -1) * self.scale_H11 + self.bias_HNN
        if mask is not None:
            by_image = weights.view(-1, len(mask), self.heads, area, area)
            weights = (by_image + mask[:, None]).view(weights.shape)
        mixed = weights.softmax(-1) @ v_WHND
        return self.proj(mixed.transpose(1, 2).reshape(count, area, width))  # type: ignore[no-any-return]
