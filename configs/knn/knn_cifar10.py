"""k-NN on CIFAR-10, at the images' own 32 pixels where the backbone allows it.

    ssl-bench knn --pretrain CKPT --dataset cifar10 --data-root DIR

Cost: one forward pass over 60,000 small images.
Expected: no published figure in the tables of this project.
"""

protocol = "knn"
dataset = "cifar10"
