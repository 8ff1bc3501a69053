"""Linear evaluation of DINO's ViT-B/16: class token and mean patch of the last block.

    ssl-bench linear vit-base-p16_dino-linear-8xb128-coslr-100e_in1k --pretrain CKPT

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: DINO's own ViT-B/16 78.2 top-1.
Source: facebookresearch/dino, eval_linear.py (--n_last_blocks 1 --avgpool_patchtokens).
"""

_base_ = "vit-small-p16_dino-linear-8xb128-coslr-100e_in1k.py"

arch = "vit_base_patch16_[0-9]*"
default = False
model = dict(
    heads=dict(
        head=dict(taps=["final"], pooling=["class_token", "patch_mean"], normed=False)
    )
)
