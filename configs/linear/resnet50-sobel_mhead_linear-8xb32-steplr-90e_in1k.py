"""Multi-head linear evaluation of backbones on Sobel gradients (DeepCluster).

    ssl-bench linear resnet50-sobel_mhead_linear-8xb32-steplr-90e_in1k --pretrain CKPT

The backbone itself turns an image into its two gradients.

Cost: 90 forward passes over 1.28 M images, and 90 over 50,000.
Expected: deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k
    12.78 / 30.81 / 43.88 / 57.71 / 51.68 top-1.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "resnet50_mhead_linear-8xb32-steplr-90e_in1k.py"

arch = "resnet50-sobel"
# Gradients of the grey image: colours are not jittered.
train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224),
            dict(type="RandomHorizontalFlip"),
        ]
    )
)
