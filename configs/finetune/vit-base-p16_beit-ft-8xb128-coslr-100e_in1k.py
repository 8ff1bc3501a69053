"""Fine-tuning of BEiT's ViT-B.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Every block has relative positions of its own, and there are no absolute ones. Images
are scaled by a mean and a deviation of 0.5: those come with the weights.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: beit_vit-base-p16_8xb256-amp-coslr-300e_in1k 83.1 top-1.
Source: MMSelfSup 1.x, configs/selfsup/beit/classification/
    vit-base-p16_ft-8xb128-coslr-100e_in1k.py, a name that MAE's recipe has too.
"""

_base_ = "vit-base-p16_ft-8xb128-coslr-100e_in1k.py"

arch = "beit_base_patch16_*"
model = dict(heads=dict(head=dict(init_std=0.02)))
optim_wrapper = dict(
    optimizer=dict(lr=4e-3),
    paramwise_cfg=dict(
        no_decay=[
            "norm",
            "bias",
            "cls_token",
            "pos_embed",
            "gamma",
            "q_bias",
            "v_bias",
        ]
    ),
)
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=20,
        start_factor=1e-4,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=20,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
