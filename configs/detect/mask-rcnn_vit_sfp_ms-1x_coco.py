"""Mask R-CNN on COCO with a plain transformer and a simple feature pyramid, 12 epochs.

    ssl-bench detect mask-rcnn_vit_sfp_ms-1x_coco --pretrain CKPT

The pyramid, the four convolutions with norms in box and mask head, AdamW with
layer-wise decay and the drop path are ViTDet's; the schedule is the common 1x instead
of ViTDet's 100 epochs with large-scale jitter, and attention is global everywhere.

Cost: 12 passes over 118 k images of 640 to 800 pixels.
Expected: no figure was published for it.
Source: Li et al. 2022, arXiv:2203.16527; detectron2, projects/ViTDet.
"""

_base_ = "mask-rcnn_r50_fpn_ms-1x_coco.py"

backbones = "tokens"

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(_delete_=True, type="BackboneTaps", drop_path_rate=0.1),
    neck=dict(
        _delete_=True,
        type="SimpleFeaturePyramid",
        in_channels=768,
        out_channels=256,
        num_outs=5,
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    constructor="BackboneLayerDecay",
    paramwise_cfg=dict(layer_decay=0.7),
    optimizer=dict(type="AdamW", lr=0.0001, betas=(0.9, 0.999), weight_decay=0.1),
)
