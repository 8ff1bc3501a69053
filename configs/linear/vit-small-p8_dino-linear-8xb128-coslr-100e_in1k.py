"""Linear evaluation of DINO's ViT-S/8: class tokens of the last four blocks.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: DINO's own ViT-S/8 79.7 top-1.
Source: facebookresearch/dino, eval_linear.py.
"""

_base_ = "vit-small-p16_dino-linear-8xb128-coslr-100e_in1k.py"

arch = "vit_small_patch8_[0-9]*"
