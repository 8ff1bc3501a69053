"""FCN on Cityscapes, 40,000 iterations.

    ssl-bench segment fcn_r50-d8_4xb2-40k_cityscapes-769x769 --pretrain CKPT

Differs from MMSegmentation's own: a plain ResNet with the 7x7 stem.

Cost: 40,000 iterations of 8 crops of 769 pixels.
Expected: no figure was published for it.
Source: MMSelfSup 0.x, configs/benchmarks/mmsegmentation/cityscapes/.
"""

_base_ = "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-769x769.py"

protocol = "segment"
dataset = "cityscapes"
backbones = "resnet"
default = True

model = dict(pretrained=None, backbone=dict(type="ResNet"))
auto_scale_lr = dict(enable=False, base_batch_size=8)
