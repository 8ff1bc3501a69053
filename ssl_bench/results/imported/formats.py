"""How other tools name their metrics, and where they write fractions.

Source: detectron2/evaluation/{coco,pascal_voc,sem_seg,cityscapes}_evaluation.py and
utils/events.py; mmdet/evaluation/metrics/{coco,voc}_metric.py;
mmseg/evaluation/metrics/iou_metric.py; MMDetection 2's datasets/coco.py and
MMSegmentation 0.x' datasets/custom.py, which log fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KNOWN = (
    "Known: metrics.json of detectron2 and its evaluator's results saved as JSON; "
    "scalars.json, vis_data/*.json and *.log.json of MMDetection and MMSegmentation"
)
"""What can be imported, as a sentence."""

_AP = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_MM_AP = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_KINDS = {"bbox": "box", "segm": "mask"}


@dataclass(frozen=True)
class Format:
    """Say how one tool writes the metrics of one protocol.

    Attributes:
        names: its keys, by nesting with ``/`` between, and our names.
        scale: from its numbers to percent.
        classes: its keys for one class, with the groups ``kind`` and ``name``.
        log: whether it is a log whose lines have a ``mode``.
        kind: of values by class whose key does not say it.
    """

    tool: str
    protocol: str
    names: Mapping[str, str]
    scale: float = 1
    classes: str = ""
    log: bool = False
    kind: str = ""


def _mm_boxes(prefix: str) -> dict[str, str]:
    return {
        f"{prefix}{theirs}_{metric}": f"{ours}_{name}"
        for theirs, ours in _KINDS.items()
        for metric, name in zip(_MM_AP, _AP, strict=True)
    }


_MM_MAPS = {"mIoU": "mIoU", "mAcc": "mAcc", "aAcc": "aAcc"}
FORMATS = (
    Format(
        "detectron2",
        "detect",
        {f"{a}/{name}": f"{b}_{name}" for a, b in _KINDS.items() for name in _AP},
        classes=r"(?P<kind>bbox|segm)/AP-(?P<name>.+)",
    ),
    Format(
        "detectron2",
        "segment",
        {"sem_seg/mIoU": "mIoU", "sem_seg/mACC": "mAcc", "sem_seg/pACC": "aAcc"},
        classes=r"sem_seg/IoU-(?P<name>.+)",
        kind="IoU",
    ),
    Format(
        "MMDetection",
        "detect",
        _mm_boxes("coco/"),
        scale=100,
        classes=r"coco/(?P<name>.+)_precision",
        kind="bbox or segm",
    ),
    Format(
        "MMDetection",
        "detect",
        {
            "pascal_voc/AP50": "box_AP50",
            "pascal_voc/mAP": "box_AP",
            "pascal_voc/AP75": "box_AP75",
        },
        scale=100,
    ),
    Format("MMSegmentation", "segment", _MM_MAPS),
    Format("MMDetection 2", "detect", _mm_boxes(""), scale=100, log=True),
    Format(
        "MMDetection 2",
        "detect",
        {"AP50": "box_AP50", "mAP": "box_AP", "AP75": "box_AP75"},
        scale=100,
        log=True,
    ),
    Format(
        "MMSegmentation 0.x",
        "segment",
        _MM_MAPS,
        scale=100,
        classes=r"IoU\.(?P<name>.+)",
        log=True,
        kind="IoU",
    ),
)
