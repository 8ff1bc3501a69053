"""Linear evaluation of FAIR's self-supervision benchmark on Places205: five heads.

    ssl-bench linear resnet50_mhead_fair-linear-8xb32-steplr-15e_places205 \\
        --pretrain CKPT

Cost: 15 forward passes over 2.45 M images.
Expected: no published figure in the tables of this project.
Source: facebookresearch/fair_self_supervision_benchmark, its linear configs of
    Places205; Goyal et al. 2019, arXiv:1905.01235, section 6.1: 140,000 steps, the rate
    divided by ten every 40,000. 15 whole epochs are 143,490 steps: the last 3,490 have
    a thousandth of the rate.
"""

_base_ = "../_base_/linear_multihead.py"

dataset = "places205"
arch = "resnet50"
param_scheduler = [
    dict(
        type="MultiStepLR", by_epoch=False, milestones=[40000, 80000, 120000], gamma=0.1
    )
]
train_cfg = dict(max_epochs=15)
