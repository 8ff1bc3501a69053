"""VOC07 SVM as MMSelfSup published it: 19 costs.

    ssl-bench svm --pretrain CKPT --data-root data/VOCdevkit

Cost: one forward pass over 9,963 images, and 1,520 SVMs.
Expected: byol_resnet50_8xb32-accum16-coslr-200e_in1k 86.31 mAP.
"""

protocol = "svm"
dataset = "voc07"
