"""Multi-head linear evaluation of MMSelfSup on iNaturalist 2018.

    ssl-bench linear --dataset inat18 --pretrain CKPT --data-root data/iNaturalist2018

Cost: 84 forward passes over 438,000 images; the last epoch is always evaluated, which
    the published interval of 10 epochs never did.
Expected: no published figure.
Source: MMSelfSup 0.x, configs/benchmarks/classification/inaturalist2018/, the same
    name. 1.x keeps 0.x keys in this file and does not run.
"""

_base_ = "../_base_/linear_multihead.py"

dataset = "inat18"
arch = "resnet50"
default = True
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[24, 48, 72], gamma=0.1)
]
train_cfg = dict(max_epochs=84)
