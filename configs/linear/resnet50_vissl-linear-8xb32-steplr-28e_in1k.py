"""Linear evaluation of VISSL: seven heads on a ResNet-50.

    ssl-bench linear resnet50_vissl-linear-8xb32-steplr-28e_in1k --pretrain CKPT

Five taps averaged over the windows of the VOC07 table, and the averaged last map with
and without batch norm. VISSL's norms have scale and shift, which are not decayed.

Cost: 28 forward passes over 1.28 M images, and 28 over 50,000.
Expected: VISSL's SwAV (ResNet-50, 800 epochs, batch 4096) 74.92 top-1.
Source: facebookresearch/vissl, configs/config/benchmark/linear_image_classification/
    imagenet1k/eval_resnet_8gpu_transfer_in1k_linear.yaml. Its weight decay is 5e-4; the
    original (Goyal et al. 2019) has 1e-4 for a ResNet-50.
"""

_base_ = "../_base_/linear_multihead.py"

dataset = "imagenet"
arch = "resnet50"
model = dict(
    heads=dict(
        _delete_=True,
        **{
            name: dict(
                taps=[tap],
                pooling=pooling,
                norm=dict(type="batch", momentum=0.1, eps=1e-5, affine=True),
                init="normal",
                init_std=0.01,
            )
            for name, tap, pooling in (
                ("conv1", "stem", "voc07"),
                ("res2", "layer1", "voc07"),
                ("res3", "layer2", "voc07"),
                ("res4", "layer3", "voc07"),
                ("res5", "layer4", "voc07"),
                ("res5avg", "final", "average"),
            )
        },
        res5avg_plain=dict(
            taps=["final"], pooling="average", init="normal", init_std=0.01
        ),
    )
)
optim_wrapper = dict(
    optimizer=dict(weight_decay=5e-4), paramwise_cfg=dict(no_decay=["norm"])
)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[8, 16, 24], gamma=0.1)
]
train_cfg = dict(max_epochs=28)
