"""Linear evaluation of MAE's ViT-L: batch norm before the head, LARS.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Published under automatic mixed precision: --dtype fp16 or bf16.

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: mae_vit-large-p16_8xb512-amp-coslr-1600e_in1k 75.5 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "vit-base-p16_linear-8xb2048-coslr-90e_in1k.py"

arch = "vit_large_patch16_[0-9]*"
