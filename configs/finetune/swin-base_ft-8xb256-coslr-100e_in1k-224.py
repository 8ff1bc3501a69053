"""Fine-tuning of SimMIM's Swin-B at 224 pixels, windows of 7.

    ssl-bench finetune swin-base_ft-8xb256-coslr-100e_in1k-224 --pretrain CKPT

Published under automatic mixed precision: --dtype fp16 or bf16.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: simmim_swin-base_16xb128-amp-coslr-800e_in1k-192 (FT size 224) 83.7 top-1.
Source: microsoft/SimMIM, configs/swin_base__800ep/
    simmim_finetune__swin_base__img224_window7__800ep.yaml; MMSelfSup 1.x,
    configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "../_base_/finetune_transformer.py"

dataset = "imagenet"
arch = "swin_base_patch4_window7_*"
default = True
model = dict(
    drop_path=0.1,
    heads=dict(head=dict(pooling="backbone", init="trunc_normal", init_std=0.02)),
)
train_dataloader = dict(batch_size=256)
auto_scale_lr = dict(base_batch_size=2048)
# 1.25e-3 for every 512 images; warm-up from 2.5e-7 and down to 2.5e-7, likewise.
optim_wrapper = dict(
    optimizer=dict(lr=5e-3),
    paramwise_cfg=dict(
        layer_decay=0.9,
        no_decay=[
            "norm",
            "bias",
            "absolute_pos_embed",
            "relative_position_bias_table",
        ],
    ),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=20,
        start_factor=2e-4,
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
train_cfg = dict(max_epochs=100)
