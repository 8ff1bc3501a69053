"""Linear evaluation: a frozen backbone, one head on its last map averaged over pixels.

Source: MMSelfSup 0.x, configs/benchmarks/classification/_base_/{models/resnet50,
    datasets/imagenet}.py. Images there are 256 by the short edge and 224 by the centre
    at test, which is the data set's own transform here.
"""

_base_ = "runtime.py"

protocol = "linear"
model = dict(
    type="Classifier",
    frozen=True,
    heads=dict(
        head=dict(taps=["final"], pooling="average", init="normal", init_std=0.01)
    ),
)
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224),
            dict(type="RandomHorizontalFlip"),
        ]
    )
)
optim_wrapper = dict(optimizer=dict(type="SGD", momentum=0.9, weight_decay=0.0))
train_cfg = dict(by_epoch=True, val_interval=1)
