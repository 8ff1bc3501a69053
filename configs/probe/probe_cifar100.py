"""Linear probes on CIFAR-100, at the images' own 32 pixels where they may be.

    ssl-bench probe --pretrain CKPT --dataset cifar100 --data-root DIR

Cost: one forward pass over 60,000 small images, and minutes of products.
Expected: no published figure in the tables of this project.
"""

protocol = "probe"
dataset = "cifar100"
