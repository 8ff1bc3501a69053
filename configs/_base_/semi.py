"""Semi-supervised: the whole network is trained on 1 % or 10 % of the labels.

Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_1percent/ and
    imagenet_10percent/; batch norm is synchronised over processes, as there.
"""

_base_ = "linear.py"

protocol = "semi"
model = dict(frozen=False)
