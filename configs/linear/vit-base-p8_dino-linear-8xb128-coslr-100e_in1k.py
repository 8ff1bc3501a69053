"""Linear evaluation of DINO's ViT-B/8: class token and mean patch of the last block.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: DINO's own ViT-B/8 80.1 top-1.
Source: facebookresearch/dino, eval_linear.py (--n_last_blocks 1 --avgpool_patchtokens).
"""

_base_ = "vit-base-p16_dino-linear-8xb128-coslr-100e_in1k.py"

arch = "vit_base_patch8_[0-9]*"
default = True
