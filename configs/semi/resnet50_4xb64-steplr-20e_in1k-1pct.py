"""Semi-supervised ImageNet of MMSelfSup: 1 % of the labels, nine settings as one grid.

    ssl-bench semi resnet50_4xb64-steplr-20e_in1k-1pct --pretrain CKPT
    ssl-bench semi resnet50_4xb64-steplr-20e_in1k-1pct --grid --pretrain CKPT
    ssl-bench semi resnet50_head100_4xb64-steplr1e-2-20e_in1k-1pct --pretrain CKPT

The first line trains the setting that was best for seven of the ten published models;
the second all nine, and reports the best; the third one of the nine by its known name.

Cost: 20 passes over 12,811 images, forward and backward; nine times with --grid.
Expected: mocov2_resnet50_8xb32-coslr-200e_in1k 38.97 top-1, 67.69 top-5
    (head100, 1e-2).
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_1percent/;
    the list of images is SimCLR's, imagenet_subsets/1percent.txt.
"""

_base_ = "../_base_/semi.py"

dataset = "imagenet"
arch = ["resnet50", "resnet50-sobel"]
default = True
fraction = 0.01
train_list = "meta/train_1percent.txt"
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=256)
optim_wrapper = dict(
    optimizer=dict(lr=0.01, weight_decay=5e-4), paramwise_cfg=dict(head_lr_mult=100)
)
grid = dict(lr=(0.1, 0.01, 0.001), head_lr_mult=(1, 10, 100))
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[12, 16], gamma=0.2)
]
train_cfg = dict(max_epochs=20)
