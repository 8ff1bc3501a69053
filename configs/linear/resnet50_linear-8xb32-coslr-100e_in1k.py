"""Linear evaluation of SwAV and Barlow Twins.

    ssl-bench linear resnet50_linear-8xb32-coslr-100e_in1k --pretrain CKPT

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96 70.47 top-1;
    barlowtwins_resnet50_8xb256-coslr-300e_in1k 71.66.
Source: facebookresearch/swav, eval_linear.py; facebookresearch/barlowtwins,
    evaluate.py; MMSelfSup 0.x, configs/benchmarks/classification/imagenet/, the same
    name.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "resnet50"
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=0.3, weight_decay=1e-6))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, eta_min=0.0)]
train_cfg = dict(max_epochs=100)
