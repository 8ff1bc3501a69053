"""Linear segmentation on the bundled scenes: the backbone stays frozen.

    ssl-bench segment linear-head_digit-scenes

The recipe of ADE20K with images in their own size and 1,050 iterations of 8 images (12
passes).

Cost: 12 passes over 700 images of 160 pixels, forward only.
Expected: not measured; the pictures are for trying the recipe out.
Source: the recipe it inherits; the schedule is our own.
"""

_base_ = "linear_8xb2-40k_ade20k-512x512.py"

dataset = "digit-scenes"

crop_size = (160, 160)
model = dict(
    data_preprocessor=dict(size=crop_size),
    test_cfg=dict(_delete_=True, mode="whole"),
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
    batch_size=8, num_workers=1, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_iters=1050, val_interval=1050)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=50),
    dict(type="PolyLR", eta_min=0.0, power=1.0, begin=50, end=1050, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=350))
