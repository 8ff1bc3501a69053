"""Fine-tuning on class folders of fewer than 64 training images.

    ssl-bench finetune finetune_folder_small --pretrain CKPT --dataset folder \\
        --data-root DIR

Cost: 30 passes over the images, forward and backward.
Expected: no published figure; the data are the user's own.
Source: lightly-ai/lightly, benchmarks/imagenet/resnet50/finetune_eval.py: 0.05 for
    every 256 images.
"""

_base_ = "finetune_folder.py"

train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.0015625))
