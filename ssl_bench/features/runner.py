"""The forward pass: a batch of bytes goes in, pooled features of every tap come out.

Axes: B batch, C channels, H height, W width, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bench.backbones import Backbone
from ssl_bench.pooling import pool


@contextmanager
def true_fp32(device: torch.device) -> Iterator[None]:
    """Keep a GPU's convolutions from rounding float32 to TF32, as cuDNN does."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Runner:
    """Turn a batch of bytes into pooled features at every tap.

    Args:
        model: the copy that computes.
        backbone: the network that it was made of, whose input and tokens are known.
        poolings: how each tap becomes a vector; its taps are those computed.
        dtype: of the images.
        device: where the copy lives.
    """

    def __init__(
        self,
        model: Backbone,
        backbone: Backbone,
        poolings: Mapping[str, str],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.model, self.backbone = model, backbone
        self.poolings = dict(poolings)
        self.dtype, self.device = dtype, device
        shape = (1, -1, 1, 1)
        self.mean = torch.tensor(backbone.input.mean, device=device).view(shape) * 255
        self.std = torch.tensor(backbone.input.std, device=device).view(shape) * 255

    def __call__(self, images_BCHW: torch.Tensor) -> dict[str, NDArray[np.float32]]:
        """Return (B, D) by tap for images of uint8 pixels."""
        with torch.inference_mode():
            images = images_BCHW.to(self.device, non_blocking=True).float()
            images = ((images - self.mean) / self.std).to(
                self.dtype, memory_format=torch.channels_last
            )
            outputs = self.model.forward_taps(images, tuple(self.poolings))
            return {
                tap: pool(outputs[tap], kind, self.backbone).float().cpu().numpy()
                for tap, kind in self.poolings.items()
            }
