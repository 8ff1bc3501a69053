"""Linear segmentation on ADE20K: the backbone stays frozen, 40,000 iterations.

    ssl-bench segment linear_8xb2-40k_ade20k-512x512 --pretrain CKPT

One batch norm and one 1x1 convolution on the last tokens or map.

Cost: 40,000 iterations of 16 crops of 512 pixels, forward only.
Expected: DINOv2's ViT-B/14 47.3 mIoU.
Source: Oquab et al. 2023, arXiv:2304.07193, section 7.4 and its code's linear head.
"""

_base_ = "vit_upernet_8xb2-160k_ade20k-512x512.py"

backbones = "any"
default = False

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(_delete_=True, type="BackboneTaps", frozen=True),
    neck=None,
    decode_head=dict(
        _delete_=True,
        type="LinearHead",
        in_channels=768,
        channels=768,
        in_index=0,
        num_classes=150,
        dropout_ratio=0.0,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", eta_min=0.0, power=1.0, begin=1500, end=40000, by_epoch=False),
]
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4000))
