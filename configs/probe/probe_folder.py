"""Linear probes on class folders: train/<class>/*, val/<class>/*.

    ssl-bench probe --pretrain CKPT --dataset folder --data-root DIR

Cost: one forward pass over the images.
Expected: no published figure; the data are the user's own.
"""

protocol = "probe"
dataset = "folder"
