"""Linear evaluation of MoCo v3's ViT-S, which has 12 heads.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: mocov3_vit-small-p16_32xb128-fp16-coslr-300e_in1k-224 73.19 top-1.
Source: facebookresearch/moco-v3, main_lincls.py (3 for every 256 images); MMSelfSup
    0.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "resnet50_linear-8xb128-coslr-90e_in1k.py"

arch = "vit_small_patch16_h12_[0-9]*"
default = True
model = dict(heads=dict(head=dict(pooling="class_token")))
optim_wrapper = dict(optimizer=dict(lr=12.0))
