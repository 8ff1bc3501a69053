"""Detection: the backbone starts a detector, which is trained whole and evaluated.

Data: VOC 2007 and 2012 ``trainval``, tested on VOC 2007 ``test``; or COCO 2017. The
published recipes are Faster R-CNN C4 for 24,000 iterations, and Mask R-CNN C4 and FPN
for 12 (1x) and 24 (2x) epochs: every stage is trained, batch norms see all processes.
Before the first step every tensor of the backbone, and of the shared head of C4, is
compared with the checkpoint. The last evaluation is reported.

Metrics: ``box_AP50``, ``box_AP``, ``box_AP75``, on VOC by the 11-point rule; on COCO
``mask_AP`` ... too, and all of them by size of the object (``box_APs`` ...).

Source: MMSelfSup 0.x and 1.x, configs/benchmarks/mmdetection/; He et al. 2019,
    arXiv:1911.05722, section 4.2.
Expected: MoCo v2 (200 epochs) VOC AP50 81.06, COCO FPN 1x box AP 40.2, mask AP 36.1.
"""

from __future__ import annotations

from ssl_bench.protocols import Outcome, Trial

PROTOCOL = "detect"
DATASET = "coco"
VERSION = 1
TRAINING = True
DENSE = True
METRICS = (r"(box|mask)_AP(50|75|s|m|l)?",)


def run(trial: Trial) -> Outcome:
    """Train and evaluate a detector.

    Raises:
        BenchError: where the run cannot begin, go on or be trusted.
    """
    from ssl_bench.protocols.dense import train_and_report

    return train_and_report(trial, PROTOCOL)
