"""Fine-tuning of SparK's ResNet-50, as far as this project trains it.

    ssl-bench finetune resnet50_8xb256-coslr-300e_in1k --pretrain CKPT

Left out of the published recipe: stochastic depth (0.05), a sigmoid for each class in
the loss (here one softmax), and an average of the weights, evaluated beside them.

Cost: 300 passes over 1.28 M images, forward and backward.
Expected: no published figure in the tables of this project.
Source: MMPretrain, configs/spark/benchmarks/, the same name.
"""

_base_ = "../_base_/finetune_transformer.py"

dataset = "imagenet"
arch = "resnet50"
model = dict(mixing=dict(mixup=0.1))
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224, interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
            dict(type="TrivialAugmentWide", interpolation="bicubic"),
            dict(type="RandomErasing", probability=0.25, area=(0.02, 1 / 3)),
        ]
    ),
)
auto_scale_lr = dict(base_batch_size=2048)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="Lamb", lr=0.016, weight_decay=0.02),
    paramwise_cfg=dict(layer_decay=0.7, no_decay=["norm", "bias"]),
)
param_scheduler = [
    dict(
        type="LinearLR",
        by_epoch=True,
        end=5,
        start_factor=1e-4,
        convert_to_iter_based=True,
    ),
    # Epoch by epoch, unlike the warm-up.
    dict(type="CosineAnnealingLR", by_epoch=True, begin=5, eta_min=1e-6),
]
train_cfg = dict(max_epochs=300)
