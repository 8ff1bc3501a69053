"""What segmentors need and MMSegmentation does not have.

Axes: B batch, C channels, H and W of maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.cnn import build_norm_layer
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation.metrics import IoUMetric
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import DATASETS, METRICS, MODELS
from torch import Tensor

from ssl_bench.openmmlab import layerwise
from ssl_bench.openmmlab.offered import offered_split
from ssl_bench.openmmlab.taps import BackboneTaps

__all__ = ["ClassIoU", "ImagesAndMaps", "LinearHead", "layerwise"]

MODELS.register_module(name="BackboneTaps", module=BackboneTaps)


@MODELS.register_module()
class LinearHead(BaseDecodeHead):  # type: ignore[misc]
    """Classify every patch by one batch norm and one 1x1 convolution.

    Source: Oquab et al. 2023, arXiv:2304.07193, section 7.4 and its code's BNHead.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        _, self.norm = build_norm_layer(dict(self.norm_cfg), self.in_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return a score for every class and patch."""
        scores: Tensor = self.cls_seg(self.norm(self._transform_inputs(maps)))
        return scores


@DATASETS.register_module()
class ImagesAndMaps(BaseSegDataset):  # type: ignore[misc]
    """Read pairs of an image and a label map, wherever they are.

    Args:
        role: of the split that was offered.
        pipeline: transforms.
    """

    def __init__(
        self, role: str, pipeline: Sequence[Any], test_mode: bool = False
    ) -> None:
        self._split = split = offered_split(role)
        drawn = np.random.default_rng(0).integers(0, 256, (len(split.classes), 3))
        palette = split.palette or drawn.tolist()
        super().__init__(
            metainfo={"classes": split.classes, "palette": palette},
            pipeline=list(pipeline),
            test_mode=test_mode,
            ignore_index=split.ignore,
            reduce_zero_label=split.reduce_zero_label,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what MMSegmentation knows of every image."""
        return [
            {
                "img_path": str(image),
                "seg_map_path": str(labels),
                "label_map": self.label_map,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for image, labels in self._split.pairs[: self._split.limit]
        ]


@METRICS.register_module()
class ClassIoU(IoUMetric):  # type: ignore[misc]
    """Compute mIoU, mean and overall accuracy in percent, unrounded and by class.

    Attributes:
        classwise_IoU: by class, NaN where neither picture nor guess has it.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.classwise_IoU: dict[str, float] = {}

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        """Return ``mIoU``, ``mAcc`` and ``aAcc``."""
        # Single precision would lose pixels beyond 2 ** 24 of a class.
        shared, either, _, truth = (
            np.sum([np.asarray(one, dtype=np.float64) for one in part], axis=0)
            for part in zip(*results, strict=True)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            iou, accuracy = 100 * shared / either, 100 * shared / truth
        names = self.dataset_meta["classes"]
        self.classwise_IoU = {
            name: float(value) for name, value in zip(names, iou, strict=True)
        }
        return {
            "mIoU": float(np.nanmean(iou)),
            "mAcc": float(np.nanmean(accuracy)),
            "aAcc": float(100 * shared.sum() / truth.sum()),
        }
