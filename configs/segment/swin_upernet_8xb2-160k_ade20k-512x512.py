"""UPerNet on ADE20K with a backbone of four maps (Swin, ConvNeXt), 160,000 iterations.

    ssl-bench segment swin_upernet_8xb2-160k_ade20k-512x512 --pretrain CKPT

Cost: 160,000 iterations of 16 crops of 512 pixels.
Expected: a supervised Swin-T 44.41 mIoU.
Source: MMSegmentation 1.x, configs/swin/.
"""

_base_ = (
    "mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
)

protocol = "segment"
dataset = "ade20k"
backbones = "maps"
default = True

model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True, type="BackboneTaps", drop_path_rate=0.3, norm_maps=True
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="BackboneLayerDecay",
    paramwise_cfg=dict(layer_decay=1.0),
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
