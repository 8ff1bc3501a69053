"""Multi-head linear evaluation of MMSelfSup on Places205.

    ssl-bench linear --dataset places205 --pretrain CKPT --data-root data/Places205

Cost: 28 forward passes over 2.45 M images; the last epoch is always evaluated, which
    the published interval of 10 epochs never did.
Expected: byol_resnet50_8xb32-accum16-coslr-200e_in1k
    21.25 / 36.55 / 43.66 / 50.74 / 53.82 top-1.
Source: MMSelfSup 0.x, configs/benchmarks/classification/places205/, the same name. 1.x
    keeps 0.x keys in this file and does not run; its Resize(256) squashes.
"""

_base_ = "../_base_/linear_multihead.py"

dataset = "places205"
arch = "resnet50"
default = True
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="Resize", size=256),
            dict(type="CenterCrop", size=256),
            dict(type="RandomCrop", size=224),
            dict(type="RandomHorizontalFlip"),
        ]
    )
)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[7, 14, 21], gamma=0.1)
]
train_cfg = dict(max_epochs=28)
