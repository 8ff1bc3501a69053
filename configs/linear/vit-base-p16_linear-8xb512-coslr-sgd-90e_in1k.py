"""Linear evaluation of MAE's ViT-B by SGD instead of LARS.

    ssl-bench linear vit-base-p16_linear-8xb512-coslr-sgd-90e_in1k --pretrain CKPT

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: no published figure.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "vit-base-p16_linear-8xb2048-coslr-90e_in1k.py"

default = False
# The published file inherits 2048 images a process, and so a batch of 16384, for a rate
# that belongs to the 4096 of its name: 0.1 for every 256 images.
train_dataloader = dict(batch_size=512)
auto_scale_lr = dict(base_batch_size=4096)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=1.6))
