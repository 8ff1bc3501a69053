"""FCN on the bundled scenes, for a laptop without a GPU.

    ssl-bench segment

The recipe of VOC 2012 with images in their own size, heads of a quarter of the width,
five times the learning rate and 2,100 iterations of 8 images (24 passes).

Cost: eleven minutes on two cores.
Expected: the bundled backbone 75.7 mIoU, random initialisation 72.3: the schedule is
    long enough to catch up. After half of it (--short 0.5) the bundled one has 33.1.
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
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_iters=2100, val_interval=2100)
param_scheduler = [
    dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=2100, by_epoch=False)
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=420))
