"""Supervised baseline: a ResNet-50 trained on CIFAR-10 from the beginning.

    ssl-bench finetune resnet50_8xb128-steplr-350e_cifar10 --pretrain none \\
        --arch resnet50-cifar --data-root DIR

Cost: 350 passes over 50,000 small images, forward and backward.
Expected: no published figure in the tables of this project.
Source: MMSelfSup 0.x, configs/benchmarks/classification/cifar10/, the same name. Its
    statistics are CIFAR's, (0.4914, 0.4822, 0.4465) and (0.2023, 0.1994, 0.201); here
    they are those that come with the weights, which are ImageNet's for a new network.
"""

_base_ = "../_base_/finetune.py"

dataset = "cifar10"
arch = ["resnet50", "resnet50-cifar*"]
default = True
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        transform=[
            dict(type="RandomCrop", size=32, padding=4),
            dict(type="RandomHorizontalFlip"),
        ]
    ),
)
auto_scale_lr = dict(base_batch_size=1024)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=5e-4))
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[150, 250], gamma=0.1)
]
train_cfg = dict(max_epochs=350)
