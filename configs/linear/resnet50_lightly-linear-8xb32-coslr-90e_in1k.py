"""Linear evaluation of lightly's ImageNet benchmarks.

    ssl-bench linear resnet50_lightly-linear-8xb32-coslr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: lightly's SimCLR (ResNet-50, batch 256, 100 epochs) 63.2 top-1.
Source: lightly-ai/lightly, benchmarks/imagenet/resnet50/linear_eval.py (0.1 for every
    256 images, a cosine over the steps).
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "resnet50"
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
