"""Mask R-CNN C4 on COCO, 24 epochs.

    ssl-bench detect mask-rcnn_r50-c4_ms-2x_coco --pretrain CKPT

MMSelfSup 1.x's file of this name ends after 12 epochs, before its first milestone; this
one trains all 24.

Cost: 24 passes over 118 k images of 640 to 800 pixels.
Expected: no figure was published for it.
Source: MMSelfSup 0.x, configs/benchmarks/mmdetection/coco/.
"""

_base_ = "mask-rcnn_r50-c4_ms-1x_coco.py"

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type="MultiStepLR",
        begin=0,
        end=24,
        by_epoch=True,
        milestones=[16, 22],
        gamma=0.1,
    ),
]
