"""Linear evaluation of MAE's ViT-H as its authors do it.

    ssl-bench linear vit-huge-p14_mae-linear-32xb512-coslr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: MAE's own ViT-H 77.2 top-1.
Source: facebookresearch/mae, main_linprobe.py and PRETRAIN.md / FINETUNE.md (512 images
    on each of 32 GPUs, 0.1 for every 256 images, images resampled bicubically).
"""

_base_ = "vit-base-p16_mae-linear-32xb512-coslr-90e_in1k.py"

arch = "vit_huge_patch14_[0-9]*"
default = True
