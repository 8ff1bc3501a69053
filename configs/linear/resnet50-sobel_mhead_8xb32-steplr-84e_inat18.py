"""Multi-head linear evaluation on iNaturalist 2018 of backbones on Sobel gradients.

    ssl-bench linear --dataset inat18 --pretrain CKPT --data-root data/iNaturalist2018

Cost: 84 forward passes over 438,000 images.
Expected: no published figure.
Source: MMSelfSup 0.x, configs/benchmarks/classification/inaturalist2018/, the same
    name.
"""

_base_ = "resnet50_mhead_8xb32-steplr-84e_inat18.py"

arch = "resnet50-sobel"
