"""UPerNet with a plain transformer on the bundled scenes, for a laptop without a GPU.

    ssl-bench segment --pretrain VIT --dataset digit-scenes

The recipe of ADE20K with images in their own size, heads of 64 channels and 2,100
iterations of 8 images (24 passes).

Cost: 24 passes over 700 images of 160 pixels.
Expected: not measured; the pictures are for trying the recipe out.
Source: the recipe it inherits; the schedule is our own.
"""

_base_ = "vit_upernet_8xb2-160k_ade20k-512x512.py"

dataset = "digit-scenes"

crop_size = (160, 160)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(channels=64),
    auxiliary_head=dict(channels=64),
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
train_cfg = dict(max_iters=2100, val_interval=2100)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=100),
    dict(type="PolyLR", eta_min=0.0, power=1.0, begin=100, end=2100, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=420))
