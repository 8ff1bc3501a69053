"""Linear evaluation of SimSiam; also SimCLR and BYOL.

    ssl-bench linear resnet50_linear-8xb512-coslr-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: simsiam_resnet50_8xb32-coslr-200e_in1k 69.84 top-1;
    byol_resnet50_16xb256-coslr-200e_in1k 71.88.
Source: facebookresearch/simsiam, main_lincls.py; MMSelfSup 0.x,
    configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "resnet50"
train_dataloader = dict(batch_size=512)
auto_scale_lr = dict(base_batch_size=4096)
# The trust ratio applies to the bias too, as in MMSelfSup and in SimSiam's apex LARC.
optim_wrapper = dict(optimizer=dict(type="Lars", lr=1.6))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, eta_min=0.0)]
train_cfg = dict(max_epochs=90)
