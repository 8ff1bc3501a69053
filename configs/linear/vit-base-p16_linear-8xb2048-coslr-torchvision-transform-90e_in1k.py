"""Linear evaluation of PixMIM: MAE's, with images resampled bicubically.

    ssl-bench linear \\
        vit-base-p16_linear-8xb2048-coslr-torchvision-transform-90e_in1k \\
        --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: pixmim_vit-base-p16_8xb512-amp-coslr-800e_in1k 67.5 top-1.
Source: MMSelfSup 1.x, configs/selfsup/pixmim/classification/, the same name.
"""

_base_ = "vit-base-p16_linear-8xb2048-coslr-90e_in1k.py"

default = False
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224, interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
        ]
    )
)
transform = [
    dict(type="Resize", size=256, interpolation="bicubic"),
    dict(type="CenterCrop", size=224),
]
