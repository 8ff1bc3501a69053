"""What detectors need and MMDetection does not have.

Axes: B batch, C channels, H and W of maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmdet.models.backbones import ResNet
from mmdet.models.layers import ResLayer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ssl_bench.openmmlab import detection_metrics, layerwise
from ssl_bench.openmmlab.taps import BackboneTaps

__all__ = [
    "LastStageExtraNorm",
    "SimpleFeaturePyramid",
    "detection_metrics",
    "layerwise",
]

MODELS.register_module(name="BackboneTaps", module=BackboneTaps)


@MODELS.register_module()
class LastStageExtraNorm(BaseModule):  # type: ignore[misc]
    """Apply a ResNet's last stage to every region, then one more batch norm.

    The batch norm keeps the head's gradient in bounds where the backbone was trained
    without a classifier. MMDetection's own shared head knows one width only.

    Args:
        depth: of the ResNet.
        norm_cfg: of the stage's norms and of the extra one.
        base_channels: of the ResNet's first stage.
        stride: of the stage.
        dilation: of the stage.
        style: ``pytorch`` or ``caffe``.
        norm_eval: keep running statistics as they are.

    Source: MMSelfSup 0.x, mmselfsup/models/utils/res_layer_extra_norm.py, whose name
        MMPretrain has registered in MMDetection too.
    """

    def __init__(
        self,
        depth: int,
        norm_cfg: Mapping[str, Any],
        base_channels: int,
        stride: int,
        dilation: int,
        style: str,
        norm_eval: bool,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        self.norm_eval = norm_eval
        block, blocks = ResNet.arch_settings[depth]
        channels = base_channels * 8 * block.expansion
        self.layer4 = ResLayer(
            block,
            channels // 2,
            base_channels * 8,
            blocks[3],
            stride=stride,
            dilation=dilation,
            style=style,
            norm_cfg=dict(norm_cfg),
        )
        name, norm = build_norm_layer(dict(norm_cfg), channels)
        self.norm_name = "norm"
        del name
        self.add_module(self.norm_name, norm)

    def forward(self, regions_BCHW: Tensor) -> Tensor:
        """Return the map of every region."""
        found: Tensor = self.norm(self.layer4(regions_BCHW))
        return found

    def train(self, mode: bool = True) -> LastStageExtraNorm:
        """Set the mode; with ``norm_eval`` statistics stay as they are."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


class MapNorm(nn.Module):
    """Norm the channels of every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return the normed map."""
        normed: Tensor = self.norm(map_BCHW.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):  # type: ignore[misc]
    """Make maps of five strides out of a plain transformer's last one.

    Args:
        in_channels: of the backbone's map.
        out_channels: of every map.
        num_outs: four, at 4, 2, 1 and 1/2 times the map, or five, the last at 1/4.

    Source: Li et al. 2022, arXiv:2203.16527, section 3; detectron2, projects/ViTDet.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_outs: int,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        half = in_channels // 2
        steps: Sequence[tuple[nn.Module, int]] = (
            (
                nn.Sequential(
                    nn.ConvTranspose2d(in_channels, half, 2, stride=2),
                    MapNorm(half),
                    nn.GELU(),
                    nn.ConvTranspose2d(half, half // 2, 2, stride=2),
                ),
                half // 2,
            ),
            (nn.ConvTranspose2d(in_channels, half, 2, stride=2), half),
            (nn.Identity(), in_channels),
            (nn.MaxPool2d(2, stride=2), in_channels),
        )
        self.branches = nn.ModuleList(
            nn.Sequential(
                step,
                nn.Conv2d(channels, out_channels, 1, bias=False),
                MapNorm(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                MapNorm(out_channels),
            )
            for step, channels in steps
        )
        self.more = num_outs - len(self.branches)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the pyramid, finest map first."""
        found = [branch(maps[-1]) for branch in self.branches]
        for _ in range(self.more):
            found.append(nn.functional.max_pool2d(found[-1], 1, stride=2))
        return tuple(found)
