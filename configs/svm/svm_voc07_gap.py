"""VOC07 SVM on the global average of the last map, centre crop 224.

    ssl-bench svm svm_voc07_gap --pretrain CKPT --data-root data/VOCdevkit

Cost: one forward pass over 9,963 images, and 1,520 SVMs.
Expected: no published figure in the tables of this project.
"""

protocol = "svm"
dataset = "voc07"
settings = {"variant": "gap"}
