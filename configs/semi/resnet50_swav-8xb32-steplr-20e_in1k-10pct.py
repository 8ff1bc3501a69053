"""Semi-supervised ImageNet of SwAV: 10 % of the labels.

    ssl-bench semi resnet50_swav-8xb32-steplr-20e_in1k-10pct --pretrain CKPT

Cost: 20 passes over 128,116 images, forward and backward.
Expected: no published figure in the tables of this project.
Source: facebookresearch/swav, eval_semisup.py: 0.01 for the network and 0.2 for the
    head.
"""

_base_ = "resnet50_4xb64-steplr-20e_in1k-10pct.py"

default = False
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.0), paramwise_cfg=dict(head_lr_mult=20)
)
grid = None
