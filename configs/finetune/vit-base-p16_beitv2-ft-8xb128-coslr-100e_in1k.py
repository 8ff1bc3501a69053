"""Fine-tuning of BEiT v2's ViT-B after 300 epochs of pre-training.

    ssl-bench finetune vit-base-p16_beitv2-ft-8xb128-coslr-100e_in1k --pretrain CKPT

Images are scaled by ImageNet's statistics, unlike BEiT's: they come with the weights.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: beitv2_vit-base-p16_8xb256-amp-coslr-300e_in1k 85.0 top-1.
Source: MMPretrain, configs/beitv2/benchmarks/beit-base-p16_8xb128-coslr-100e_in1k.py;
    MMSelfSup 1.x sets what belongs to 1600 epochs (drop path 0.2, layer decay 0.6).
"""

_base_ = "vit-base-p16_beit-ft-8xb128-coslr-100e_in1k.py"

default = False
optim_wrapper = dict(optimizer=dict(lr=5e-4))
