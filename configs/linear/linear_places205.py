"""Linear evaluation on Places205 of any backbone but a ResNet-50.

    ssl-bench linear --dataset places205 --pretrain CKPT --data-root data/Places205

The head sees what the backbone says is its feature (averaged map, class token or mean
patch) through a batch norm without scale and shift, so that one learning rate serves
features of any scale.

Cost: 28 forward passes over 2.45 M images.
Expected: no published figure.
Source: the norm is MAE's (Doersch et al. 2015, before it), the rate lightly's: 0.1 for
    every 256 images. The epochs are MMSelfSup's on these data.
"""

_base_ = "linear_imagenet.py"

dataset = "places205"
train_cfg = dict(max_epochs=28)
