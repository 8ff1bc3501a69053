"""Semi-supervised ImageNet of VICReg: 1 % of the labels.

    ssl-bench semi resnet50_vicreg-8xb32-coslr-20e_in1k-1pct --pretrain CKPT

Cost: 20 passes over 12,811 images, forward and backward.
Expected: no published figure in the tables of this project.
Source: facebookresearch/vicreg, evaluate.py and README.md: 0.03 for the network and
    0.08 for the head.
"""

_base_ = "resnet50_barlowtwins-8xb32-coslr-20e_in1k-1pct.py"

optim_wrapper = dict(
    optimizer=dict(lr=0.03), paramwise_cfg=dict(head_lr_mult=0.08 / 0.03)
)
