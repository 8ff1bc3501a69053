"""Fine-tuning of MoCo v3's ViT-B.

    ssl-bench finetune vit-base-p16_ft-8xb64-coslr-150e_in1k --pretrain CKPT

The class token is classified; one rate serves all blocks.

Cost: 150 passes over 1.28 M images, forward and backward.
Expected: mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k 83.0 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name. It
    shows every image three times in a row (RepeatAugSampler of DeiT), this one once.
"""

_base_ = "../_base_/finetune_transformer.py"

dataset = "imagenet"
arch = "vit_base_patch16_[0-9]*"
model = dict(
    drop_path=0.1,
    heads=dict(head=dict(pooling="class_token", init="trunc_normal", init_std=0.02)),
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=512)
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=5.0))
custom_hooks = [dict(type="EMAHook", momentum=4e-5, priority="ABOVE_NORMAL")]
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=5,
        start_factor=1e-3,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=5,
        eta_min=1e-5,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=150)
