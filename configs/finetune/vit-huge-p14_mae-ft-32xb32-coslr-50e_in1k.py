"""Fine-tuning of MAE's ViT-H as its authors do it.

    ssl-bench finetune vit-huge-p14_mae-ft-32xb32-coslr-50e_in1k --pretrain CKPT

Differs from MMSelfSup's in that the least rate, 1e-6 at the head, falls from block to
block like the rate itself, and in that the warm-up begins (nearly) at 0.

Cost: 50 passes over 1.28 M images, forward and backward.
Expected: MAE's own ViT-H 86.928 top-1.
Source: facebookresearch/mae, FINETUNE.md and util/lr_sched.py (32 images on each of 32
    GPUs).
"""

_base_ = "vit-huge-p16_ft-8xb128-coslr-50e_in1k.py"

default = False
train_dataloader = dict(batch_size=32)
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=5,
        start_factor=1e-6,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=5,
        eta_min_ratio=2.5e-4,
        convert_to_iter_based=True,
    ),
]
