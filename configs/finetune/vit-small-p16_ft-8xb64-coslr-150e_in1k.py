"""Fine-tuning of MoCo v3's ViT-S, and of other networks of that size.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Cost: 150 passes over 1.28 M images, forward and backward.
Expected: MoCo v3's own ViT-S 81.4 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "vit-base-p16_ft-8xb64-coslr-150e_in1k.py"

arch = ["vit_small_patch16_h12_[0-9]*", "vit_small_patch16_[0-9]*"]
default = True
