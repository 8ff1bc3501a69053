"""Fine-tuning of SimMIM's Swin-B at 192 pixels, windows of 6.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Published under automatic mixed precision: --dtype fp16 or bf16.

Cost: 100 passes over 1.28 M images of 192 pixels, forward and backward.
Expected: simmim_swin-base_16xb128-amp-coslr-100e_in1k-192 (FT size 192) 82.7 top-1.
Source: microsoft/SimMIM, configs/swin_base__100ep/
    simmim_finetune__swin_base__img192_window6__100ep.yaml; MMSelfSup 1.x,
    configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "swin-base_ft-8xb256-coslr-100e_in1k-224.py"

arch = "swin_base_patch4_window6_*"
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=192, interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
            dict(type="RandAugment", config="rand-m9-mstd0.5-inc1"),
            dict(type="RandomErasing", probability=0.25, area=(0.02, 1 / 3)),
        ]
    )
)
transform = [
    dict(type="Resize", size=219, interpolation="bicubic"),
    dict(type="CenterCrop", size=192),
]
