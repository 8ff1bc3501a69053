"""Linear evaluation of EVA (MAE style) and MILAN.

    ssl-bench linear vit-base-p16_linear-8xb2048-coslr-100e_in1k --pretrain CKPT

Published under automatic mixed precision: --dtype fp16 or bf16.

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: milan_vit-base-p16_16xb256-amp-coslr-400e_in1k 78.9 top-1;
    eva-mae-style_vit-base-p16_16xb256-coslr-400e_in1k 69.02.
Source: MMSelfSup 1.x, configs/selfsup/{eva,milan}/classification/, the same name: two
    files, one recipe.
"""

_base_ = "vit-base-p16_linear-8xb2048-coslr-90e_in1k.py"

default = False
optim_wrapper = dict(optimizer=dict(lr=3.2))
train_cfg = dict(max_epochs=100)
