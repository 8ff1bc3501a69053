"""Semi-supervised class folders: 10 % of the labels.

    ssl-bench semi semi_folder_10pct --pretrain CKPT --dataset folder --data-root DIR

No published recipe: the schedule is MMSelfSup's for a ResNet-50, and the rate of the
head is ten times that of the network.

Cost: 20 passes over the images of the subset, forward and backward.
Expected: no published figure; the data are the user's own.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_10percent/.
"""

_base_ = "semi_imagenet_10pct.py"

dataset = "folder"
train_list = None
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=32)
