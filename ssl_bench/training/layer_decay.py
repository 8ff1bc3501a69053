"""Layers of a network, for learning rates that fall towards its input.

Every parameter has a layer: 0 nearest to the images, the last one for the head and what
stands before it. A rate is multiplied by ``decay`` to the power of last layer - layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ssl_bench.backbones.convnext import ConvNeXt
from ssl_bench.backbones.resnet import ResNet
from ssl_bench.backbones.resnet_blocks import LAYERS
from ssl_bench.backbones.swin import Swin
from ssl_bench.backbones.token_backbone import TokenBackbone

# Source: MMSelfSup 1.x, layer_decay_optim_wrapper_constructor.py; register tokens as in
#     DINOv2, dinov2/utils/param_groups.py.
_EMBEDDING = ("cls_token", "pos_embed", "mask_token", "reg_token", "patch_embed")
_SWIN_EMBEDDING = ("mask_token", "patch_embed")

# Source: MMPretrain 1.x, mmpretrain/models/backbones/resnet.py, get_layer_depth. By the
#     blocks of the second and third stage: how many of them share a layer there.
_RESNET_SHARES = {
    (4, 6): (2, 3),
    (4, 23): (2, 3),
    (8, 36): (4, 4),
    (24, 36): (4, 4),
}

# Source: MMPretrain 1.x, mmpretrain/models/backbones/convnext.py, get_layer_depth.
_CONVNEXT_SHARE = 3
_CONVNEXT_DEEP = 9
_CONVNEXT_LAST = {False: 6, True: 12}
"""Layer of the last stage, by whether the third one has more than nine blocks."""

KNOWN = (
    "ViT, BEiT, DINOv3, Swin, ConvNeXt (third stage of up to 30 blocks) and ResNet "
    "(depths 50, 101, 152 and 200, and 34)"
)
"""Networks that have layers, for messages."""


@dataclass(frozen=True)
class Layers:
    """Hold the layers of one network.

    Attributes:
        last: layer of what has no place of its own: last norm, head.
        of: layer of a parameter by its name within the network.
    """

    last: int
    of: Callable[[str], int]

    def multiplier(self, layer: int, decay: float) -> float:
        """Return what the learning rate of a layer is multiplied by."""
        return float(decay ** (self.last - layer))


def layers_of(backbone: nn.Module) -> Layers | None:
    """Return the layers of a network by the published rule of its family.

    ViT, BEiT and DINOv3 of D blocks: 0 for tokens, positions and patches, i + 1 for
    block i, D + 1 for the rest. Swin: blocks are counted through the stages, and a
    down-sampling has the layer of the last block before it; patches are 0, the rest,
    absolute positions among it, is D + 1. ResNet and ConvNeXt: the first stage (of a
    ConvNeXt the first two) and the last are one layer each, those between are several.

    Args:
        backbone: the network.

    Returns:
        The layers, or None where no rule is published.
    """
    inner: Any = backbone
    if isinstance(backbone, TokenBackbone):
        return _transformer(len(inner.blocks))
    if isinstance(backbone, Swin):
        return _swin([len(stage.blocks) for stage in inner.layers])
    if isinstance(backbone, ResNet):
        return _resnet([len(backbone.get_submodule(name)) for name in LAYERS])  # type: ignore[arg-type]
    if isinstance(backbone, ConvNeXt):
        return _convnext([len(stage.blocks) for stage in inner.stages])
    return None


def _transformer(depth: int) -> Layers:
    last = depth + 1

    def of(name: str) -> int:
        parts = name.split(".")
        if parts[0] in _EMBEDDING:
            return 0
        return int(parts[1]) + 1 if parts[0] == "blocks" else last

    return Layers(last, of)


def _swin(depths: Sequence[int]) -> Layers:
    last = sum(depths) + 1

    def of(name: str) -> int:
        parts = name.split(".")
        if parts[0] in _SWIN_EMBEDDING:
            return 0
        if parts[0] != "layers":
            return last
        before = sum(depths[: int(parts[1])])
        # A stage begins with the down-sampling here, and ended with it where the rule
        # was published: it goes with the blocks before it.
        return before if parts[2] == "downsample" else before + int(parts[3]) + 1

    return Layers(last, of)


def _resnet(depths: Sequence[int]) -> Layers | None:
    shares = _RESNET_SHARES.get((depths[1], depths[2]))
    if shares is None:
        return None
    second, third = (
        math.ceil(depth / share)
        for depth, share in zip(depths[1:3], shares, strict=True)
    )
    last = 2 + second + third + 1

    def of(name: str) -> int:
        parts = name.split(".")
        if parts[0] not in LAYERS:
            return 0
        stage, block = LAYERS.index(parts[0]), int(parts[1])
        within = {1: block // shares[0], 2: block // shares[1]}.get(stage, 0)
        return (1, 2, 2 + second, last - 1)[stage] + within

    return Layers(last, of)


def _convnext(depths: Sequence[int]) -> Layers | None:
    end = _CONVNEXT_LAST[depths[2] > _CONVNEXT_DEEP]
    if 3 + (depths[2] - 1) // _CONVNEXT_SHARE > end:
        return None

    def of(name: str) -> int:
        parts = name.split(".")
        if parts[0] == "stem":
            return 0
        if parts[0] != "stages":
            return end + 1
        stage = int(parts[1])
        if stage == 3:
            return end
        block = int(parts[3]) if stage == 2 and parts[2] == "blocks" else 0
        return stage + 1 + block // _CONVNEXT_SHARE

    return Layers(end + 1, of)
