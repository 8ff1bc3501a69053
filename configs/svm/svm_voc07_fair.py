"""VOC07 SVM with the 26 costs of FAIR's benchmark.

    ssl-bench svm svm_voc07_fair --pretrain CKPT --data-root data/VOCdevkit

Cost: one forward pass over 9,963 images, and 2,080 SVMs.
Expected: no published figure in the tables of this project.
"""

protocol = "svm"
dataset = "voc07"
settings = {"variant": "fair"}
