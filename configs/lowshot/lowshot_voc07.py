"""Low-shot VOC07 SVM as MMSelfSup published it.

    ssl-bench lowshot --pretrain CKPT --data-root data/VOCdevkit

Cost: one forward pass over 9,963 images, and 15,200 SVMs.
Expected: byol_resnet50_8xb32-accum16-coslr-200e_in1k 45.37 (k = 1) to 84.73 (k = 96).
"""

protocol = "lowshot"
dataset = "voc07"
