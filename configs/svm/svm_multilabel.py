"""SVM on a multi-label list of the user's own: train.csv and val.csv.

    ssl-bench svm --pretrain CKPT --dataset multilabel --data-root DIR

Cost: one forward pass over the images.
Expected: no published figure; the data are the user's own.
"""

protocol = "svm"
dataset = "multilabel"
