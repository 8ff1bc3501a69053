"""Low-shot SVM on class folders; each class against the others.

    ssl-bench lowshot --pretrain CKPT --dataset folder --data-root DIR

Cost: one forward pass over the images.
Expected: no published figure; the data are the user's own.
"""

protocol = "lowshot"
dataset = "folder"
