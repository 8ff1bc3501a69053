"""What the fine-tuning recipes of masked image modelling share.

AdamW with a rate that falls from block to block, mixup and cutmix, RandAugment and
random erasing, images resampled bicubically.

Source: facebookresearch/mae, FINETUNE.md and main_finetune.py; MMSelfSup 1.x,
    configs/benchmarks/classification/imagenet/vit-base-p16_ft-8xb128-coslr-100e_in1k.py.
"""

_base_ = "finetune.py"

model = dict(label_smoothing=0.1, mixing=dict(mixup=0.8, cutmix=1.0))
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224, interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
            dict(type="RandAugment", config="rand-m9-mstd0.5-inc1"),
            dict(type="RandomErasing", probability=0.25, area=(0.02, 1 / 3)),
        ]
    )
)
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05
    ),
    paramwise_cfg=dict(no_decay=["norm", "bias", "cls_token", "pos_embed"]),
)
transform = [
    dict(type="Resize", size=256, interpolation="bicubic"),
    dict(type="CenterCrop", size=224),
]
