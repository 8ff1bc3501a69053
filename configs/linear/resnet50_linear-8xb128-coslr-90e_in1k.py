"""Linear evaluation of MoCo v3's ResNet-50.

    ssl-bench linear resnet50_linear-8xb128-coslr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: mocov3_resnet50_8xb512-amp-coslr-300e_in1k 72.8 top-1.
Source: facebookresearch/moco-v3, main_lincls.py (0.1 for every 256 images); MMSelfSup
    1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "resnet50"
train_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=1024)
optim_wrapper = dict(optimizer=dict(lr=0.4))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, eta_min=0.0)]
train_cfg = dict(max_epochs=90)
