"""Mask R-CNN FPN on COCO, 12 epochs: the COCO tables of MMSelfSup.

    ssl-bench detect mask-rcnn_r50_fpn_ms-1x_coco --pretrain CKPT

Differs from MMDetection's own: every stage is trained; batch norms over all processes,
also in neck, box head (four convolutions) and mask head; six scales; 1,000 iterations
of warm-up (MMSelfSup 1.x inherits 500).

Cost: 12 passes over 118 k images of 640 to 800 pixels.
Expected: MoCo v2 (200 epochs) 40.2 box AP and 36.1 mask AP.
Source: MMSelfSup 0.x, configs/benchmarks/mmdetection/coco/.
"""

_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

protocol = "detect"
dataset = "coco"
backbones = "resnet"
default = True

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False, init_cfg=None),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(
            type="Shared4Conv1FCBBoxHead", conv_out_channels=256, norm_cfg=norm_cfg
        ),
        mask_head=dict(norm_cfg=norm_cfg),
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
