"""Low-shot SVM on a multi-label list of the user's own.

    ssl-bench lowshot --pretrain CKPT --dataset multilabel --data-root DIR

Cost: one forward pass over the images.
Expected: no published figure; the data are the user's own.
"""

protocol = "lowshot"
dataset = "multilabel"
