"""Fine-tuning of MAE's ViT-B.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

The mean patch of the last block, without the final norm of pre-training, passes a new
layer norm before the head.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k 83.5 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name. 0.x
    has a rate of 4e-3; MAE's own is the 2e-3 here (5e-4 for every 256 images).
"""

_base_ = "../_base_/finetune_transformer.py"

dataset = "imagenet"
arch = "vit_base_patch16_[0-9]*"
default = True
model = dict(
    drop_path=0.1,
    heads=dict(
        head=dict(
            taps=["last1"],
            pooling="patch_mean",
            norm=dict(type="layer", eps=1e-6),
            init="trunc_normal",
            init_std=2e-5,
        )
    ),
)
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=1024)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(layer_decay=0.65),
)
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=5,
        start_factor=1e-4,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=5,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=100)
