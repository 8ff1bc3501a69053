"""Linear evaluation of backbones on Sobel gradients (DeepCluster), as MoCo's.

    ssl-bench linear --pretrain CKPT --data-root data/imagenet

The backbone itself turns an image into its two gradients.

Cost: 100 forward passes over 1.28 M images, and 100 over 50,000.
Expected: deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k 46.92 top-1.
Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/, the same name.
"""

_base_ = "resnet50_linear-8xb32-steplr-100e_in1k.py"

arch = "resnet50-sobel"
