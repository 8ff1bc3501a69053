"""Semi-supervised bundled scenes: 1 % of the labels (60 images).

    ssl-bench semi semi_digit-scenes_1pct

No published recipe: the schedule is MMSelfSup's for a ResNet-50, and the rate of the
head is ten times that of the network.

Cost: about a quarter of a minute on two cores.
Expected: the bundled backbone at least 10 points ahead of random initialisation.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_1percent/.
"""

_base_ = "semi_folder_1pct.py"

dataset = "digit-scenes"
train_dataloader = dict(
    batch_size=2,
    # Digits are not flipped: a mirrored 2 is no digit.
    dataset=dict(transform=[dict(type="RandomCrop", size=96, padding=8)]),
)
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[36, 48], gamma=0.2)
]
train_cfg = dict(max_epochs=60, val_interval=20)
