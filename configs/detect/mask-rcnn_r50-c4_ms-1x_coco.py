"""Mask R-CNN C4 on COCO, 12 epochs.

    ssl-bench detect mask-rcnn_r50-c4_ms-1x_coco --pretrain CKPT

Differs from MMDetection's own: every stage is trained, all batch norms over all
processes, one more batch norm after the shared head, six scales, 1,000 iterations of
warm-up (MMSelfSup 1.x inherits 500 by an oversight).

Cost: 12 passes over 118 k images of 640 to 800 pixels.
Expected: no figure was published for it.
Source: MMSelfSup 0.x, configs/benchmarks/mmdetection/coco/.
"""

_base_ = "mmdet::mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py"

protocol = "detect"
dataset = "coco"
backbones = "resnet"

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        init_cfg=None,
    ),
    roi_head=dict(
        shared_head=dict(
            _delete_=True,
            type="LastStageExtraNorm",
            depth=50,
            base_channels=64,
            stride=2,
            dilation=1,
            style="pytorch",
            norm_cfg=norm_cfg,
            norm_eval=False,
        )
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="RandomChoiceResize",
        scales=[
            (1333, 640),
            (1333, 672),
            (1333, 704),
            (1333, 736),
            (1333, 768),
            (1333, 800),
        ],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type="MultiStepLR",
        begin=0,
        end=12,
        by_epoch=True,
        milestones=[8, 11],
        gamma=0.1,
    ),
]
