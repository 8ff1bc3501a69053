"""Linear evaluation of MoCo v1 and v2 on the averaged last map.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

Also Relative-Loc, Rotation-Pred, NPID, ODC and DenseCL. A loss of several hundred in
the first epochs is normal with this learning rate.

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: mocov2_resnet50_8xb32-coslr-200e_in1k 67.58 top-1.
Source: facebookresearch/moco, main_lincls.py; MMSelfSup 0.x,
    configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "../_base_/linear.py"

dataset = "imagenet"
arch = "resnet50"
default = True
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=30.0))
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[60, 80], gamma=0.1)
]
train_cfg = dict(max_epochs=100)
