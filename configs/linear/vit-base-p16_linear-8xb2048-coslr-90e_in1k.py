"""Linear evaluation of MAE's ViT-B: batch norm before the head, LARS.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Published under automatic mixed precision: --dtype fp16 or bf16.

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k 67.1 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "vit_base_patch16_[0-9]*"
default = True
model = dict(
    heads=dict(
        head=dict(
            pooling="class_token",
            norm=dict(type="batch", momentum=0.1, eps=1e-6),
            init="trunc_normal",
        )
    )
)
train_dataloader = dict(batch_size=2048)
auto_scale_lr = dict(base_batch_size=16384)
# As in MMSelfSup, the trust ratio applies to the bias too. MAE's own LARS leaves
# tensors of one dimension without it, and multiplies by the rate after the momentum.
optim_wrapper = dict(optimizer=dict(type="Lars", lr=6.4))
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=10,
        start_factor=1e-4,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=10,
        eta_min=0.0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=90)
