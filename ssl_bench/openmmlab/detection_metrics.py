"""AP of boxes and masks, unrounded and by class.

MMDetection's own metrics round to three digits, and of several iou types keep one's
values by class. The matching is pycocotools' and MMDetection's.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation import eval_map
from mmdet.evaluation.metrics import CocoMetric, VOCMetric
from mmdet.registry import METRICS
from mmengine.fileio import load
from numpy.typing import NDArray

_AREAS = ("all", "small", "medium", "large")
_THRESHOLDS = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
_COUNTED = 0  # the first of several numbers of detections an image, 100 in COCO


def mean_precision(precision: NDArray[np.float64]) -> float:
    """Return the mean of what exists, in percent; NaN where nothing does.

    Args:
        precision: of pycocotools; -1 where there is no object.
    """
    there = precision[precision > -1]
    return 100 * float(there.mean()) if there.size else float("nan")


@METRICS.register_module()
class CocoPrecision(CocoMetric):  # type: ignore[misc]
    """Compute COCO's AP in percent: all, by threshold, by size and by class.

    Attributes:
        classwise_AP: by iou type and class, after an evaluation.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._coco_api: Any = self._coco_api
        self.classwise_AP: dict[str, dict[str, float]] = {}

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        """Return ``bbox_AP``, ``bbox_AP50`` ... and the same of ``segm``."""
        truths, guesses = zip(*results, strict=True)
        with tempfile.TemporaryDirectory() as folder, _silence():
            prefix = str(Path(folder) / "found")
            if self._coco_api is None:
                written = self.gt_to_coco_json(gt_dicts=truths, outfile_prefix=prefix)
                self._coco_api = COCO(written)
            names = self.dataset_meta["classes"]
            self.cat_ids = self._coco_api.get_cat_ids(cat_names=names)
            files = self.results2json(guesses, prefix)
            found: dict[str, float] = {}
            for kind in self.metrics:
                boxes = load(files[kind])
                found |= self._evaluate(kind, boxes, [g["img_id"] for g in guesses])
        return found

    def _evaluate(
        self, kind: str, guesses: list[dict[str, Any]], images: list[Any]
    ) -> dict[str, float]:
        names = self.dataset_meta["classes"]
        if kind == "segm":
            # With a box beside it, pycocotools takes the box's area for the mask's.
            for guess in guesses:
                guess.pop("bbox", None)
        run = COCOeval(self._coco_api, self._results(guesses), kind)
        run.params.catIds = self.cat_ids
        run.params.imgIds = images
        run.params.maxDets = list(self.proposal_nums)
        run.params.iouThrs = self.iou_thrs
        run.evaluate()
        run.accumulate()
        precision = run.eval["precision"]  # thresholds, recalls, classes, sizes, counts
        self.classwise_AP[kind] = {
            name: mean_precision(precision[:, :, index, 0, _COUNTED])
            for index, name in enumerate(names)
        }
        found = {
            f"{kind}_{name}": mean_precision(precision[part, :, :, 0, _COUNTED])
            for name, part in _THRESHOLDS.items()
        }
        for place, size in enumerate(_AREAS[1:], start=1):
            found[f"{kind}_AP{size[0]}"] = mean_precision(
                precision[:, :, :, place, _COUNTED]
            )
        return found

    def _results(self, guesses: list[dict[str, Any]]) -> Any:
        """Return detections as pycocotools has them; it reads no empty list."""
        if guesses:
            return self._coco_api.loadRes(guesses)
        nothing = COCO()
        nothing.dataset = {**self._coco_api.dataset, "annotations": []}
        nothing.createIndex()
        return nothing


@METRICS.register_module()
class VocPrecision(VOCMetric):  # type: ignore[misc]
    """Compute VOC's AP in percent, at every threshold, by the named rule.

    Pixels are counted as the development kit does: a box from 1 to 3 is 3 wide.

    Attributes:
        classwise_AP: by class at the first threshold, after an evaluation.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.classwise_AP: dict[str, float] = {}

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        """Return ``AP`` over all thresholds, and ``AP50``, ``AP55`` ..."""
        truths, guesses = zip(*results, strict=True)
        found: dict[str, float] = {}
        for threshold in self.iou_thrs:
            mean, classes = eval_map(
                guesses,
                truths,
                iou_thr=threshold,
                dataset=self.dataset_meta["classes"],
                logger="silent",
                eval_mode=self.eval_mode,
                use_legacy_coordinate=True,
            )
            found[f"AP{round(100 * threshold)}"] = 100 * float(mean)
            if not self.classwise_AP or threshold == self.iou_thrs[0]:
                self.classwise_AP = {
                    name: 100 * float(np.mean(one["ap"])) if one["num_gts"] else np.nan
                    for name, one in zip(
                        self.dataset_meta["classes"], classes, strict=True
                    )
                }
        return {"AP": sum(found.values()) / len(found), **found}


def _silence() -> contextlib.AbstractContextManager[Any]:
    return contextlib.redirect_stdout(io.StringIO())
