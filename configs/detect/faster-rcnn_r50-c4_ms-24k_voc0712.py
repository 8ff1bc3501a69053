"""Faster R-CNN C4 on VOC 2007 + 2012, 24,000 iterations: the VOC tables of MMSelfSup.

    ssl-bench detect faster-rcnn_r50-c4_ms-24k_voc0712 --pretrain CKPT

Differs from MMDetection's own: every stage is trained, all batch norms over all
processes; the shared head (the ResNet's last stage) ends in one more batch norm, and
its weights come from the checkpoint too; 24k iterations in place of 18k.

Cost: 24,000 iterations of 16 images of 480 to 800 pixels.
Expected: MoCo v2 (200 epochs) AP50 81.06, by the 11-point rule on VOC2007 test.
Source: MMSelfSup 1.x, configs/benchmarks/mmdetection/voc0712/.
"""

_base_ = "mmdet::pascal_voc/faster-rcnn_r50-caffe-c4_ms-18k_voc0712.py"

protocol = "detect"
dataset = "voc0712"
backbones = "resnet"
default = True

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        init_cfg=None,
    ),
    roi_head=dict(
        shared_head=dict(
            _delete_=True,
            type="LastStageExtraNorm",
            depth=50,
            base_channels=64,
            stride=2,
            dilation=1,
            style="pytorch",
            norm_cfg=norm_cfg,
            norm_eval=False,
        )
    ),
)

max_iter = 24000
train_cfg = dict(max_iters=max_iter, val_interval=2000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(
        type="MultiStepLR",
        begin=0,
        end=max_iter,
        by_epoch=False,
        milestones=[18000, 22000],
        gamma=0.1,
    ),
]
# Every threshold from 0.50 to 0.95: AP50 is the published metric, AP and AP75 beside.
val_evaluator = dict(
    type="VOCMetric",
    metric="mAP",
    eval_mode="11points",
    iou_thrs=[0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95],
)
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2000))
