"""Multi-head linear evaluation on Places205 of backbones on Sobel gradients.

    ssl-bench linear --dataset places205 --pretrain CKPT --data-root data/Places205

Cost: 28 forward passes over 2.45 M images.
Expected: deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k
    18.80 / 33.93 / 41.44 / 47.22 / 42.61 top-1.
Source: MMSelfSup 0.x, configs/benchmarks/classification/places205/, the same name.
"""

_base_ = "resnet50_mhead_8xb32-steplr-28e_places205.py"

arch = "resnet50-sobel"
