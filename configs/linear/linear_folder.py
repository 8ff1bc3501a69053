"""Linear evaluation on class folders.

    ssl-bench linear --pretrain CKPT --dataset folder --data-root DIR

The head sees what the backbone says is its feature (averaged map, class token or mean
patch) through a batch norm without scale and shift, so that one learning rate serves
features of any scale.

Cost: 90 forward passes over the images.
Expected: no published figure; the data are the user's own.
Source: the norm is MAE's (Doersch et al. 2015, before it), the rate lightly's: 0.1 for
    every 256 images.
"""

_base_ = "linear_imagenet.py"

dataset = "folder"
