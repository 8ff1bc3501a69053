"""Faster R-CNN C4 on the bundled scenes, for a laptop without a GPU.

    ssl-bench detect faster-rcnn_c4_digit-scenes

The recipe of VOC with images in their own size, smaller anchors, fewer proposals and
720 iterations of 8 images (12 passes).

Cost: 12 passes over 480 images of 192 pixels.
Expected: not measured; the pictures are for trying the recipe out.
Source: the recipe it inherits; the schedule is our own.
"""

_base_ = "faster-rcnn_r50-c4_ms-24k_voc0712.py"

dataset = "digit-scenes"
default = False

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[1, 2, 4])),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100)),
)
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomChoiceResize", scales=[(320, 176), (320, 192)], keep_ratio=True),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="Resize", scale=(320, 192), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type="CocoDataset",
        pipeline=train_pipeline,
        filter_cfg=dict(filter_empty_gt=True, min_size=16),
    ),
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(clip_grad=dict(max_norm=10))
train_cfg = dict(max_iters=720, val_interval=720)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=60),
    dict(
        type="MultiStepLR",
        begin=0,
        end=720,
        by_epoch=False,
        milestones=[540, 660],
        gamma=0.1,
    ),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=240))
