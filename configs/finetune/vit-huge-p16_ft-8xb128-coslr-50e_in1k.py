"""Fine-tuning of MAE's ViT-H, whose patches have 14 pixels in spite of the known name.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Cost: 50 passes over 1.28 M images, forward and backward.
Expected: mae_vit-huge-p16_8xb512-amp-coslr-1600e_in1k (ViT-huge-FT-224) 86.9 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name;
    facebookresearch/mae, FINETUNE.md.
"""

_base_ = "vit-large-p16_ft-8xb128-coslr-50e_in1k.py"

arch = "vit_huge_patch14_224"
model = dict(drop_path=0.3)
