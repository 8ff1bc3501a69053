"""Linear probes on ImageNet-1k.

    ssl-bench probe --pretrain CKPT --data-root data/imagenet

Cost: one forward pass over 1.33 M images, and some 1e16 operations on features of 2,048
    numbers: minutes on a GPU, a night on many cores (probes=ridge: minutes).
Expected: no published figure follows this rule; it is shown in a table of its own.
"""

protocol = "probe"
dataset = "imagenet"
