"""Semi-supervised ImageNet of MMSelfSup: 10 % of the labels, nine settings as one grid.

    ssl-bench semi --pretrain CKPT --data-root data/imagenet
    ssl-bench semi resnet50_4xb64-steplr-20e_in1k-10pct --grid --pretrain CKPT
    ssl-bench semi resnet50_head100_4xb64-steplr1e-2-20e_in1k-10pct --pretrain CKPT

The first line trains the setting that was best for seven of the ten published models;
the second all nine, and reports the best; the third one of the nine by its known name.

Cost: 20 passes over 128,116 images, forward and backward; nine times with --grid.
Expected: OpenSelfSup's MoCo v2 (selfsup/moco/r50_v2.py) 61.80 top-1, 85.11 top-5
    (head100, 1e-2).
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_10percent/;
    the list of images is SimCLR's, imagenet_subsets/10percent.txt.
"""

_base_ = "resnet50_4xb64-steplr-20e_in1k-1pct.py"

fraction = 0.1
train_list = "meta/train_10percent.txt"
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
