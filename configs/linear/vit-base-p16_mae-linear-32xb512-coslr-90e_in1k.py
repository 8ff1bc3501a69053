"""Linear evaluation of MAE's ViT-B as its authors do it.

    ssl-bench linear vit-base-p16_mae-linear-32xb512-coslr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: MAE's own ViT-B 67.8 top-1.
Source: facebookresearch/mae, main_linprobe.py and PRETRAIN.md / FINETUNE.md (512 images
    on each of 32 GPUs, 0.1 for every 256 images, images resampled bicubically).
"""

_base_ = "vit-base-p16_linear-8xb2048-coslr-torchvision-transform-90e_in1k.py"

# What still differs from MAE's own code: its LARS gives the bias no trust ratio, and
# multiplies by the rate after the momentum; its warm-up begins at 0.
train_dataloader = dict(batch_size=512)
