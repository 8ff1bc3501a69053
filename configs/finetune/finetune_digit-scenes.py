"""Fine-tuning on the bundled scenes: handwritten digits on clutter, 96 pixels.

    ssl-bench finetune

Cost: a minute or two on two cores.
Expected: the bundled backbone ahead of random initialisation.
Source: lightly-ai/lightly, benchmarks/imagenet/resnet50/finetune_eval.py: 0.05 for
    every 256 images.
"""

_base_ = "finetune_folder.py"

dataset = "digit-scenes"
# Digits are not flipped: a mirrored 2 is no digit.
train_dataloader = dict(
    dataset=dict(transform=[dict(type="RandomCrop", size=96, padding=8)])
)
train_cfg = dict(max_epochs=5)
