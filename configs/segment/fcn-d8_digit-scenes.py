"""FCN on the bundled scenes, for a laptop without a GPU.

    ssl-bench segment

The recipe of VOC 2012 with images in their own size, heads of a quarter of the width,
ten times the learning rate for them, and 1,300 iterations of 8 images (15 passes).

Cost: six minutes on two cores.
Expected: the bundled backbone 69 mIoU, random initialisation 27. At five times the
    learning rate for all of the network and 2,100 iterations both have more, 76 and 72:
    random initialisation has caught up.
Source: the recipe it inherits; schedule and widths are our own.
"""

_base_ = "fcn_r50-d8_4xb4-20k_voc12aug-512x512.py"

dataset = "digit-scenes"

crop_size = (160, 160)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(channels=128),
    auxiliary_head=dict(channels=64),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(
        type="RandomResize", scale=(160, 160), ratio_range=(0.75, 1.5), keep_ratio=True
    ),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.95),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(160, 160), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(_delete_=True, type="BaseSegDataset", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(_delete_=True, type="BaseSegDataset", pipeline=test_pipeline),
)
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0))))
train_cfg = dict(max_iters=1300, val_interval=1300)
param_scheduler = [
    dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=1300, by_epoch=False)
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=260))
