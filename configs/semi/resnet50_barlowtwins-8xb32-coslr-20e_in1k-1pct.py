"""Semi-supervised ImageNet of Barlow Twins: 1 % of the labels.

    ssl-bench semi resnet50_barlowtwins-8xb32-coslr-20e_in1k-1pct --pretrain CKPT

Cost: 20 passes over 12,811 images, forward and backward.
Expected: no published figure in the tables of this project.
Source: facebookresearch/barlowtwins, evaluate.py and README.md: 0.005 for the network
    and 0.5 for the head.
"""

_base_ = "resnet50_swav-8xb32-steplr-20e_in1k-1pct.py"

# Published without synchronised batch norm: 32 images of each process make statistics.
optim_wrapper = dict(optimizer=dict(lr=0.005), paramwise_cfg=dict(head_lr_mult=100))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, eta_min=0.0)]
