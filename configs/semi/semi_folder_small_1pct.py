"""Semi-supervised class folders: 1 % of the labels, which are fewer than 32 images.

    ssl-bench semi semi_folder_small_1pct --pretrain CKPT --data-root DIR

No published recipe: the schedule is MMSelfSup's for a ResNet-50, and the rate of the
head is ten times that of the network.

Cost: 20 passes over the images of the subset, forward and backward.
Expected: no published figure; the data are the user's own.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_1percent/.
"""

_base_ = "semi_folder_1pct.py"

train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=8)
