"""Linear probes on Places205.

    ssl-bench probe --pretrain CKPT --dataset places205 --data-root DIR

Cost: one forward pass over 2.5 M images, and some 5e15 operations on features of 2,048
    numbers: minutes on a GPU, hours on many cores (probes=ridge: minutes).
Expected: no published figure follows this rule.
"""

protocol = "probe"
dataset = "places205"
