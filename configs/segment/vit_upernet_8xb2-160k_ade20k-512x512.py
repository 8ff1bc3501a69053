"""UPerNet on ADE20K with a plain transformer, 160,000 iterations.

    ssl-bench segment vit_upernet_8xb2-160k_ade20k-512x512 --pretrain CKPT

Four blocks, at one and two thirds, half and the end of the depth, become four maps.

Cost: 160,000 iterations of 16 crops of 512 pixels.
Expected: MAE's ViT-B 48.13 mIoU (layer decay 0.65).
Source: MMSegmentation 1.x, configs/mae/.
"""

_base_ = "mmseg::mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py"

protocol = "segment"
dataset = "ade20k"
backbones = "tokens"
default = True

model = dict(
    pretrained=None,
    backbone=dict(_delete_=True, type="BackboneTaps", drop_path_rate=0.1),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="BackboneLayerDecay",
    paramwise_cfg=dict(layer_decay=0.65),
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
