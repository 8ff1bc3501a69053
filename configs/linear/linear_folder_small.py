"""Linear evaluation on class folders of fewer than 256 training images.

    ssl-bench linear linear_folder_small --pretrain CKPT --data-root DIR

The head sees what the backbone says is its feature (averaged map, class token or mean
patch) through a batch norm without scale and shift, so that one learning rate serves
features of any scale.

Cost: 90 forward passes over the images.
Expected: no published figure; the data are the user's own.
Source: the norm is MAE's (Doersch et al. 2015, before it), the rate lightly's: 0.1 for
    every 256 images.
"""

_base_ = "linear_folder.py"

train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=0.00625))
