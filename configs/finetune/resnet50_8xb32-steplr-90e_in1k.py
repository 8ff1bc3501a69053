"""Supervised baseline: a ResNet-50 trained on ImageNet from the beginning.

    ssl-bench finetune resnet50_8xb32-steplr-90e_in1k --pretrain none --arch resnet50

Cost: 90 passes over 1.28 M images, forward and backward.
Expected: torchvision's supervised ResNet-50, 76.1 top-1 in VISSL's table.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/, the same name, which
    lists epoch 90 as a step too, at which training is over.
"""

_base_ = "../_base_/finetune.py"

dataset = "imagenet"
arch = "resnet50"
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=1e-4))
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[30, 60], gamma=0.1)
]
train_cfg = dict(max_epochs=90)
