"""Linear evaluation on CIFAR-10.

    ssl-bench linear --dataset cifar10 --pretrain CKPT --data-root DIR

The head sees what the backbone says is its feature (averaged map, class token or mean
patch) through a batch norm without scale and shift, so that one learning rate serves
features of any scale.

Cost: 90 forward passes over 50,000 small images.
Expected: no published figure in the tables of this project.
Source: the norm is MAE's (Doersch et al. 2015, before it), the rate lightly's: 0.1 for
    every 256 images.
"""

_base_ = "linear_imagenet.py"

dataset = "cifar10"
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomCrop", size=32, padding=4),
            dict(type="RandomHorizontalFlip"),
        ]
    )
)
