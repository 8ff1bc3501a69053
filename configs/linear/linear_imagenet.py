"""Linear evaluation on ImageNet of any backbone without a published recipe.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

The head sees what the backbone says is its feature (averaged map, class token or mean
patch) through a batch norm without scale and shift, so that one learning rate serves
features of any scale.

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: no published figure.
Source: the norm is MAE's (Doersch et al. 2015, before it), the rate lightly's: 0.1 for
    every 256 images.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "*"
default = True
model = dict(
    heads=dict(
        head=dict(pooling="backbone", norm=dict(type="batch", momentum=0.1, eps=1e-5))
    )
)
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        eta_min=0.0,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=90)
