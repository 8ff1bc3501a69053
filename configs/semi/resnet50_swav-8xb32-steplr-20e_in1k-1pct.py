"""Semi-supervised ImageNet of SwAV: 1 % of the labels.

    ssl-bench semi resnet50_swav-8xb32-steplr-20e_in1k-1pct --pretrain CKPT

Cost: 20 passes over 12,811 images, forward and backward.
Expected: no published figure in the tables of this project.
Source: facebookresearch/swav, eval_semisup.py and README.md: 0.02 for the network and 5
    for the head.
"""

_base_ = "resnet50_4xb64-steplr-20e_in1k-1pct.py"

default = False
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(
    optimizer=dict(lr=0.02, weight_decay=0.0), paramwise_cfg=dict(head_lr_mult=250)
)
grid = None
