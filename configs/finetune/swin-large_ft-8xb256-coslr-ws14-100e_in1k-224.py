"""Fine-tuning of SimMIM's Swin-L at 224 pixels, windows of 14.

    ssl-bench finetune --pretrain CKPT --data-root data/imagenet

Published under automatic mixed precision: --dtype fp16 or bf16.

Cost: 100 passes over 1.28 M images, forward and backward.
Expected: simmim_swin-large_16xb128-amp-coslr-800e_in1k-192 (FT size 224) 84.8 top-1.
Source: MMSelfSup 1.x, configs/benchmarks/classification/imagenet/, the same name. Its
    cosine has a period of 100 epochs and runs for 80, so that it never gets down; here
    it does. MMSelfSup pads the last map of 7 x 7 to a window of 14, which here is as
    large as the map.
"""

_base_ = "swin-base_ft-8xb256-coslr-100e_in1k-224.py"

arch = "swin_large_patch4_window14_*"
model = dict(drop_path=0.2)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.7))
