"""Linear evaluation on the bundled scenes: handwritten digits on clutter, 96 pixels.

    ssl-bench linear

The head sees what the backbone says is its feature (averaged map, class token or mean
patch) through a batch norm without scale and shift, so that one learning rate serves
features of any scale.

Cost: under a minute on two cores.
Expected: the bundled backbone at least 10 points ahead of random initialisation.
Source: the norm is MAE's (Doersch et al. 2015, before it).
"""

_base_ = "linear_imagenet.py"

dataset = "digit-scenes"
# Digits are not flipped: a mirrored 2 is no digit.
train_dataloader = dict(
    dataset=dict(transform=[dict(type="RandomCrop", size=96, padding=8)])
)
# Four epochs are 96 steps, where ImageNet's 90 are 450,000: a higher rate.
optim_wrapper = dict(optimizer=dict(lr=1.0))
train_cfg = dict(max_epochs=4, val_interval=2)
