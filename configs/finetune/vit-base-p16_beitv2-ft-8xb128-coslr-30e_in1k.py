"""Fine-tuning of BEiT v2's ViT-B that was fine-tuned on ImageNet-22k before.

    ssl-bench finetune vit-base-p16_beitv2-ft-8xb128-coslr-30e_in1k --pretrain CKPT

Cost: 30 passes over 1.28 M images, forward and backward.
Expected: no published figure in the tables of this project.
Source: MMSelfSup 1.x, configs/selfsup/beitv2/classification/
    vit-base-p16_ft-8xb128-coslr-30e_in1k.py.
"""

_base_ = "vit-base-p16_beitv2-ft-8xb128-coslr-100e_in1k.py"

optim_wrapper = dict(
    optimizer=dict(lr=5e-5),
    paramwise_cfg=dict(layer_decay=0.75),
)
train_cfg = dict(max_epochs=30)
