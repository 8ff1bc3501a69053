"""Fine-tuning of MoCo v3's ViT-L.

    ssl-bench finetune vit-large-p16_ft-8xb64-coslr-100e_in1k --pretrain CKPT

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: mocov3_vit-large-p16_64xb64-amp-coslr-300e_in1k 83.7 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "vit-base-p16_ft-8xb64-coslr-150e_in1k.py"

arch = "vit_large_patch16_[0-9]*"
model = dict(drop_path=0.5)
train_cfg = dict(max_epochs=100)
