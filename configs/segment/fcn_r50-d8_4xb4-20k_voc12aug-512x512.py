"""FCN on VOC 2012 with additional annotations, 20,000 iterations.

    ssl-bench segment fcn_r50-d8_4xb4-20k_voc12aug-512x512 --pretrain CKPT

Differs from MMSegmentation's own: a plain ResNet with the 7x7 stem. The stock recipe
has three 3x3 convolutions there, which a checkpoint with a 7x7 one leaves unloaded.

Cost: 20,000 iterations of 16 crops of 512 pixels.
Expected: MoCo v2 (200 epochs) 67.55 mIoU.
Source: MMSelfSup 0.x, configs/benchmarks/mmsegmentation/voc12aug/.
"""

_base_ = "mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py"

protocol = "segment"
dataset = "voc12aug"
backbones = "resnet"
default = True

model = dict(pretrained=None, backbone=dict(type="ResNet"))
auto_scale_lr = dict(enable=False, base_batch_size=16)
