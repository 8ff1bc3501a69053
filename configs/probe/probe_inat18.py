"""Linear probes on iNaturalist 2018: 8,142 classes, some with two images.

    ssl-bench probe --pretrain CKPT --dataset inat18 --data-root DIR

Cost: one forward pass over 0.46 M images, and some 3e16 operations on features of 2,048
    numbers: tens of minutes on a GPU; on a CPU take probes=ridge (minutes).
Expected: no published figure follows this rule.
"""

protocol = "probe"
dataset = "inat18"
