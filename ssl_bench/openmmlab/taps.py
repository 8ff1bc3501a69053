"""Our loaded Backbone as the backbone of a detector or segmentor.

Axes: B batch, C channels, H and W of images and maps, T tokens, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_bench.backbones.token_backbone import TokenBackbone
from ssl_bench.errors import BenchError
from ssl_bench.openmmlab.offered import offered_backbone
from ssl_bench.training.drop_path import set_drop_path

_PROBE = 224
"""Pixels of an image's edge that every network of maps takes."""

_PROBE = 64
"""Pixels of the image that shows which parameters a tap depends on."""


class BackboneTaps(BaseModule):  # type: ignore[misc]
    """Give several taps of our network as maps.

    Tokens become maps of the patches; images that do not divide into patches are
    resized to the next size that does, so that the map covers the image exactly.

    Args:
        arch: of the network that was offered.
        taps: of the network, in the order in which the neck takes them.
        frozen: keep every parameter and statistic as it is.
        drop_path_rate: of the last block.
        norm_maps: end every map in a layer norm over its channels, trained from the
            start, as published detectors and segmentors on Swin and ConvNeXt do.
    """

    def __init__(
        self,
        arch: str,
        taps: Sequence[str],
        frozen: bool = False,
        drop_path_rate: float = 0.0,
        norm_maps: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=None)
        del init_cfg  # the weights are placed, and compared, before training
        network = offered_backbone(arch)
        self.network = copy.deepcopy(network, {id(network.weights): network.weights})
        self.network.take_any_size()
        self.taps = tuple(taps)
        self.frozen = frozen
        if drop_path_rate and not frozen:
            set_drop_path(self.network, drop_path_rate)
        self.network.requires_grad_(not frozen)
        self._rest_unused()
        widths = [self.network.dims[tap] for tap in self.taps] if norm_maps else []
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def _rest_unused(self) -> None:
        """Take from training what no tap depends on, as several processes need."""
        if self.frozen:
            return
        edge = _PROBE
        if isinstance(self.network, TokenBackbone):
            edge = 2 * self.network.patch
        was_training = self.network.training
        self.network.eval()
        with torch.enable_grad():
            image = torch.zeros(1, self.network.input.channels, edge, edge)
            found = self.network.forward_taps(image, self.taps)
            sum(tap.sum() for tap in found.values()).backward()  # type: ignore[union-attr]
        for parameter in self.network.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        self.network.train(was_training)

    def init_weights(self) -> None:
        """Leave the weights: they are those of the checkpoint."""

    def train(self, mode: bool = True) -> BackboneTaps:
        """Set the mode; a frozen network stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return a map (B, C, H, W) for each tap."""
        images_BCHW = self._fitted(images_BCHW)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found = self.network.forward_taps(images_BCHW, self.taps)
        maps = [self._map(found[tap], images_BCHW) for tap in self.taps]
        for index, norm in enumerate(self.norms):
            normed: Tensor = norm(maps[index].permute(0, 2, 3, 1))
            maps[index] = normed.permute(0, 3, 1, 2).contiguous()
        return tuple(maps)

    def _fitted(self, images_BCHW: Tensor) -> Tensor:
        if not isinstance(self.network, TokenBackbone):
            return images_BCHW
        patch = self.network.patch
        height, width = images_BCHW.shape[2:]
        size = (-(-height // patch) * patch, -(-width // patch) * patch)
        if size == (height, width):
            return images_BCHW
        return nn.functional.interpolate(
            images_BCHW, size=size, mode="bilinear", align_corners=False
        )

    def _map(self, tap: Tensor, images_BCHW: Tensor) -> Tensor:
        if tap.ndim == 4:
            return tap.contiguous()
        assert isinstance(self.network, TokenBackbone)
        patch, first = self.network.patch, self.network.num_prefix_tokens
        height, width = images_BCHW.shape[2] // patch, images_BCHW.shape[3] // patch
        patches_BTD = tap[:, first:]
        if patches_BTD.shape[1] != height * width:
            raise BenchError(
                f"{self.network.arch} ends in the mean of its patches, which is no "
                "map; take the last block instead of final: --cfg-options "
                f"model.backbone.taps=block{len(self.network.dims) - 1}"
            )
        count, _, channels = patches_BTD.shape
        map_BDHW = patches_BTD.transpose(1, 2).reshape(count, channels, height, width)
        return map_BDHW.contiguous()
