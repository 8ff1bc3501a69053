"""VOC07 SVM with the 11 costs of VISSL.

    ssl-bench svm svm_voc07_vissl --pretrain CKPT --data-root data/VOCdevkit

Cost: one forward pass over 9,963 images, and 880 SVMs.
Expected: no published figure in the tables of this project.
"""

protocol = "svm"
dataset = "voc07"
settings = {"variant": "vissl"}
