"""Fine-tuning on ImageNet of ResNets and other convolutional backbones: lightly's.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Cost: 30 passes over 1.28 M images, forward and backward.
Expected: lightly's SimCLR (ResNet-50, batch 256, 100 epochs) 73.9 top-1.
Source: lightly-ai/lightly, benchmarks/imagenet/resnet50/finetune_eval.py, after SimCLR:
    0.05 for every 256 images, no weight decay, a cosine over the steps.
"""

_base_ = "../_base_/finetune.py"

dataset = "imagenet"
arch = "*"
default = True
model = dict(heads=dict(head=dict(pooling="backbone")))
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        eta_min=0.0,
        convert_to_iter_based=True,
    )
]
train_cfg = dict(max_epochs=30)
