"""Mask R-CNN FPN on the bundled scenes, for a laptop without a GPU.

    ssl-bench detect

The recipe of COCO with images in their own size, neck and heads of a quarter of the
width, smaller anchors, fewer proposals and 6 epochs of 480 images. After 12 epochs a
network at random initialisation has nearly caught up: 90.2 box AP50 against 93.7.

Cost: five minutes on two cores.
Expected: the bundled backbone 79.5 box AP50, 50.4 mask AP; random initialisation 56.9
    and 35.5.
Source: the recipe it inherits; schedule and widths are our own.
"""

_base_ = "mask-rcnn_r50_fpn_ms-1x_coco.py"

dataset = "digit-scenes"

model = dict(
    neck=dict(out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, conv_out_channels=64, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250)),
)
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomChoiceResize", scales=[(320, 176), (320, 192)], keep_ratio=True),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="Resize", scale=(320, 192), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=8, dataset=dict(pipeline=train_pipeline, filter_cfg=dict(min_size=16))
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10))
train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=30),
    dict(type="MultiStepLR", begin=0, end=6, by_epoch=True, milestones=[4], gamma=0.1),
]
