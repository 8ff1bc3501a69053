"""SVM on class folders: train/<class>/*, val/<class>/*; each class against the others.

    ssl-bench svm --pretrain CKPT --dataset folder --data-root DIR

Cost: one forward pass over the images.
Expected: no published figure; the data are the user's own.
"""

protocol = "svm"
dataset = "folder"
