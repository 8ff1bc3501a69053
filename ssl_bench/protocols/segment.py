"""Semantic segmentation: the backbone starts a segmentor, trained and evaluated.

Data: VOC 2012 with additional annotations, Cityscapes or ADE20K. FCN on a dilated
ResNet with the 7x7 stem, UPerNet on transformers, or one linear layer on a frozen
network. Before the first step every tensor of the backbone is compared with the
checkpoint. The last evaluation is reported.

Metrics: ``mIoU``, ``mAcc`` (means over classes) and ``aAcc`` (over pixels).

Source: MMSelfSup 0.x, configs/benchmarks/mmsegmentation/; MMSegmentation 1.x,
    configs/{mae,swin}; Oquab et al. 2023, arXiv:2304.07193 (linear).
Expected: MoCo v2 (200 epochs) VOC12aug mIoU 67.55; MAE ViT-B UPerNet ADE20K 48.13.
"""

from __future__ import annotations

from ssl_bench.protocols import Outcome, Trial

PROTOCOL = "segment"
DATASET = "voc12aug"
VERSION = 1
TRAINING = True
DENSE = True
METRICS = (r"mIoU", r"mAcc", r"aAcc")


def run(trial: Trial) -> Outcome:
    """Train and evaluate a segmentor.

    Raises:
        BenchError: where the run cannot begin, go on or be trusted.
    """
    from ssl_bench.protocols.dense import train_and_report

    return train_and_report(trial, PROTOCOL)
