"""Linear evaluation of MoCo v3's ViT-B.

    ssl-bench linear vit-base-p16_linear-8xb128-coslr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k 76.9 top-1.
Source: facebookresearch/moco-v3, main_lincls.py (3 for every 256 images); MMSelfSup
    1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "vit-small-p16_linear-8xb128-coslr-90e_in1k.py"

arch = "vit_base_patch16_[0-9]*"
default = False
