"""Semi-supervised bundled scenes: 10 % of the labels (600 images).

    ssl-bench semi

No published recipe: the schedule is MMSelfSup's for a ResNet-50, and the rate of the
head is ten times that of the network.

Cost: about half a minute on two cores.
Expected: the bundled backbone at least 10 points ahead of random initialisation.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_10percent/.
"""

_base_ = "semi_folder_10pct.py"

dataset = "digit-scenes"
train_dataloader = dict(
    # Digits are not flipped: a mirrored 2 is no digit.
    dataset=dict(transform=[dict(type="RandomCrop", size=96, padding=8)]),
)
train_cfg = dict(val_interval=10)
