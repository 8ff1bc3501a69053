"""Fine-tuning of CAE's ViT-B, with relative positions beside the absolute ones.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Images are scaled by a mean and a deviation of 0.5: those come with the weights.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: cae_vit-base-p16_8xb256-fp16-coslr-300e_in1k 83.2 top-1.
Source: MMSelfSup 0.x and 1.x, configs/benchmarks/classification/imagenet/, the same
    name. The colour jitter of 0.x does nothing: timm leaves it out beside RandAugment.
"""

_base_ = "vit-base-p16_ft-8xb128-coslr-100e_in1k.py"

arch = "beit_base_patch16_abs_*"
optim_wrapper = dict(optimizer=dict(lr=8e-3))
