"""Fine-tuning on ImageNet of transformers and ConvNeXts without a published recipe.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

MAE's recipe; the head sees what the backbone says is its feature. The layer decay is
that of the script's default, which is milder than a ViT-B's.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: no published figure.
Source: facebookresearch/mae, FINETUNE.md and main_finetune.py.
"""

_base_ = "../_base_/finetune_transformer.py"

dataset = "imagenet"
arch = ["vit_*", "beit_*", "dinov3_*", "swin*", "convnext*"]
default = True
model = dict(
    drop_path=0.1,
    heads=dict(head=dict(pooling="backbone", init="trunc_normal", init_std=0.02)),
)
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=1024)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(layer_decay=0.75),
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
