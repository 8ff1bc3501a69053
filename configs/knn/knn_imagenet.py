"""k-NN on ImageNet-1k: the published protocol.

    ssl-bench knn --pretrain CKPT --data-root data/imagenet

Cost: one forward pass over 1.33 M images and one search of 50,000 queries.
Expected: simclr_resnet50_8xb32-coslr-200e_in1k 48.4 top-1 at k = 20.
"""

protocol = "knn"
dataset = "imagenet"
