"""Semi-supervised ImageNet of VICReg: 10 % of the labels.

    ssl-bench semi resnet50_vicreg-8xb32-coslr-20e_in1k-10pct --pretrain CKPT

Cost: 20 passes over 128,116 images, forward and backward.
Expected: no published figure in the tables of this project.
Source: facebookresearch/vicreg, evaluate.py and README.md: 0.01 for the network and 0.1
    for the head.
"""

_base_ = "resnet50_swav-8xb32-steplr-20e_in1k-10pct.py"

# Published without synchronised batch norm: 32 images of each process make statistics.
optim_wrapper = dict(paramwise_cfg=dict(head_lr_mult=10))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, eta_min=0.0)]
