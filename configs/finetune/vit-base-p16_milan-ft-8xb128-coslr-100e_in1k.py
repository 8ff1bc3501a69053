"""Fine-tuning of MILAN's and EVA's (MAE style) ViT-B.

    ssl-bench finetune vit-base-p16_milan-ft-8xb128-coslr-100e_in1k --pretrain CKPT

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: milan_vit-base-p16_16xb256-amp-coslr-400e_in1k 85.3 top-1;
    eva-mae-style_vit-base-p16_16xb256-coslr-400e_in1k 83.72.
Source: MMSelfSup 1.x, configs/selfsup/{milan,eva}/classification/
    vit-base-p16_ft-8xb128-coslr-100e_in1k.py: two files, one recipe, and a name that
    MAE's has too.
"""

_base_ = "vit-base-p16_ft-8xb128-coslr-100e_in1k.py"

default = False
model = dict(heads=dict(head=dict(init_std=0.02)))
optim_wrapper = dict(optimizer=dict(lr=4e-4))
