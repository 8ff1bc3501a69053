"""Multi-head linear evaluation of MMSelfSup: Feature1 to Feature5 on ImageNet.

    ssl-bench linear resnet50_mhead_linear-8xb32-steplr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: byol_resnet50_8xb32-accum16-coslr-200e_in1k
    15.16 / 35.26 / 47.77 / 63.10 / 71.21 top-1.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "../_base_/linear_multihead.py"

dataset = "imagenet"
arch = "resnet50"
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224),
            dict(type="RandomHorizontalFlip"),
            dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4),
            dict(type="Lighting", std=0.1),
        ]
    )
)
# 0.x lists epoch 90 too, at which training is over. 1.x inherits 60 and 80.
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[30, 60], gamma=0.1)
]
train_cfg = dict(max_epochs=90)
