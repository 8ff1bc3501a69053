"""Fine-tuning on class folders, of transformers and ConvNeXts.

    ssl-bench finetune --pretrain CKPT --dataset folder --data-root DIR

Cost: 50 passes over the images, forward and backward.
Expected: no published figure; the data are the user's own.
Source: facebookresearch/mae, FINETUNE.md: 5e-4 for every 256 images.
"""

_base_ = "finetune_imagenet_transformer.py"

dataset = "folder"
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
train_cfg = dict(max_epochs=50)
