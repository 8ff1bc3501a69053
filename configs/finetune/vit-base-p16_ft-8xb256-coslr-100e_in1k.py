"""Fine-tuning of MaskFeat's ViT-B.

    ssl-bench finetune vit-base-p16_ft-8xb256-coslr-100e_in1k --pretrain CKPT

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k 83.4 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name. 0.x
    warms up from 1e-8 times the rate.
"""

_base_ = "vit-base-p16_ft-8xb128-coslr-100e_in1k.py"

default = False
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224, interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
            dict(type="RandAugment", config="rand-m9-mstd0.5-inc1"),
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4),
            dict(type="RandomErasing", probability=0.25, area=(0.02, 1 / 3)),
        ]
    ),
)
auto_scale_lr = dict(base_batch_size=2048)
optim_wrapper = dict(optimizer=dict(lr=8e-3))
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
