"""Mask R-CNN FPN on COCO with a backbone of four maps (Swin, ConvNeXt), 12 epochs.

    ssl-bench detect mask-rcnn_swin_fpn_1x_coco --pretrain CKPT

Cost: 12 passes over 118 k images of 800 pixels.
Expected: a supervised Swin-T 42.7 box AP and 39.3 mask AP.
Source: MMDetection 3.x, configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py.
"""

_base_ = "mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"

protocol = "detect"
dataset = "coco"
backbones = "maps"
default = True

model = dict(
    backbone=dict(
        _delete_=True, type="BackboneTaps", drop_path_rate=0.2, norm_maps=True
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="BackboneLayerDecay",
    paramwise_cfg=dict(layer_decay=1.0),
    optimizer=dict(type="AdamW", lr=0.0001, betas=(0.9, 0.999), weight_decay=0.05),
)
