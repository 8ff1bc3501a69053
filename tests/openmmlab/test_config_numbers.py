"""The numbers of the published recipes, written by hand.

Source: shared/spec/protocols.md, sections 7 and 8. Several of them are inherited from
OpenMMLab's own files, and would move with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.openmmlab.built import DETECT, SEGMENT, recipe, steps

pytestmark = pytest.mark.filterwarnings("ignore")

ALL = DETECT + SEGMENT
RESNET_BOXES = [n for n in DETECT if "_r50" in n]
FCN = [n for n in SEGMENT if n.startswith("fcn_")]


@pytest.mark.parametrize("name", [*RESNET_BOXES, "faster-rcnn_c4_digit-scenes"])
def test_numbers_of_mmselfsup_detection(name: str) -> None:
    config = recipe(name)
    backbone, pixels = config.model.backbone, config.model.data_preprocessor
    assert config.optim_wrapper.optimizer == {
        "type": "SGD",
        "lr": 0.02,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    }
    assert backbone.type == "ResNet"
    assert backbone.depth == 50
    assert backbone.style == "pytorch"
    assert backbone.frozen_stages == -1
    assert backbone.norm_eval is False
    assert backbone.norm_cfg == {"type": "SyncBN", "requires_grad": True}
    assert backbone.get("init_cfg") is None
    assert pixels.mean == [123.675, 116.28, 103.53]
    assert pixels.std == [58.395, 57.12, 57.375]
    assert pixels.bgr_to_rgb is True
    assert pixels.pad_size_divisor == 32
    assert config.model.get("pretrained") is None


@pytest.mark.parametrize("name", RESNET_BOXES)
def test_schedule_and_scales_of_mmselfsup_detection(name: str) -> None:
    config = recipe(name)
    voc = config.dataset == "voc0712"
    assert config.optim_wrapper.get("clip_grad") is None
    warm = config.param_scheduler[0]
    assert warm.start_factor == 0.001
    assert warm.end == (100 if voc else 1000)
    train = steps(config.train_dataloader.dataset)
    short = range(480, 801, 32) if voc else range(640, 801, 32)
    assert len(short) == (11 if voc else 6)
    scales = [tuple(scale) for scale in train["RandomChoiceResize"]["scales"]]
    assert scales == [(1333, edge) for edge in short]
    assert train["RandomChoiceResize"]["keep_ratio"] is True
    assert train["RandomFlip"]["prob"] == 0.5
    assert steps(config.val_dataloader.dataset)["Resize"]["scale"] == (1333, 800)


def synchronised(model: Any, place: str = "") -> Iterator[str]:
    for key, value in model.items():
        if key == "norm_cfg":
            assert value == {"type": "SyncBN", "requires_grad": True}
            yield place
        elif isinstance(value, dict):
            yield from synchronised(value, f"{place}.{key}".strip("."))


@pytest.mark.parametrize("name", ALL)
def test_batch_norms_see_all_processes_where_the_recipe_says_so(name: str) -> None:
    config = recipe(name)
    heads = {"roi_head.bbox_head", "roi_head.mask_head"}
    segment = {"decode_head", "auxiliary_head"}
    expected = {
        "c4": {"backbone", "roi_head.shared_head"},
        "fpn": {"backbone", "neck", *heads},
        # A plain transformer has no batch norms, and its pyramid layer norms.
        "sfp": heads,
        "fcn": {"backbone", *segment},
        "upernet": segment,
        "linear": {"decode_head"},
    }
    (where,) = (where for word, where in expected.items() if word in name)
    if "swin_fpn" in name:
        where = set()  # MMDetection's own has none in neck and heads
    assert set(synchronised(config.model)) == where


@pytest.mark.parametrize("name", [n for n in RESNET_BOXES if "-c4_" in n])
def test_numbers_of_c4(name: str) -> None:
    model = recipe(name).model
    assert model.backbone.num_stages == 3
    assert model.backbone.out_indices == (2,)
    assert model.rpn_head.in_channels == model.rpn_head.feat_channels == 1024
    anchors = model.rpn_head.anchor_generator
    assert anchors.scales == [2, 4, 8, 16, 32]
    assert anchors.ratios == [0.5, 1.0, 2.0]
    assert anchors.strides == [16]
    rpn, rcnn = model.train_cfg.rpn, model.train_cfg.rcnn
    assert (rpn.assigner.pos_iou_thr, rpn.assigner.neg_iou_thr) == (0.7, 0.3)
    assert (rpn.sampler.num, rpn.sampler.pos_fraction) == (256, 0.5)
    assert (rcnn.sampler.num, rcnn.sampler.pos_fraction) == (512, 0.25)
    assert rcnn.sampler.add_gt_as_proposals is True
    assert rcnn.assigner.pos_iou_thr == rcnn.assigner.neg_iou_thr == 0.5
    proposals = model.train_cfg.rpn_proposal
    assert (proposals.nms_pre, proposals.max_per_img) == (12000, 2000)
    assert (model.test_cfg.rpn.nms_pre, model.test_cfg.rpn.max_per_img) == (6000, 1000)
    assert proposals.nms.iou_threshold == model.test_cfg.rpn.nms.iou_threshold == 0.7
    roi = model.roi_head.bbox_roi_extractor
    assert (roi.roi_layer.output_size, roi.roi_layer.sampling_ratio) == (14, 0)
    assert roi.featmap_strides == [16]
    shared = model.roi_head.shared_head
    assert (shared.depth, shared.stride, shared.dilation) == (50, 2, 1)
    assert shared.norm_eval is False
    assert model.roi_head.bbox_head.in_channels == 2048
    last = model.test_cfg.rcnn
    assert (last.score_thr, last.nms.iou_threshold, last.max_per_img) == (
        0.05,
        0.5,
        100,
    )


@pytest.mark.parametrize("name", [n for n in RESNET_BOXES if "_fpn_" in n])
def test_numbers_of_fpn(name: str) -> None:
    model = recipe(name).model
    assert model.neck.in_channels == [256, 512, 1024, 2048]
    assert (model.neck.out_channels, model.neck.num_outs) == (256, 5)
    assert model.roi_head.bbox_head.type == "Shared4Conv1FCBBoxHead"
    assert model.roi_head.bbox_head.conv_out_channels == 256
    assert model.roi_head.bbox_head.fc_out_channels == 1024
    assert model.roi_head.mask_head.num_convs == 4
    assert model.train_cfg.rcnn.mask_size == 28
    assert (model.train_cfg.rpn_proposal.nms_pre, model.test_cfg.rpn.nms_pre) == (
        2000,
        1000,
    )


def test_voc_is_both_years_and_the_eleven_point_rule() -> None:
    config = recipe("faster-rcnn_r50-c4_ms-24k_voc0712")
    years = config.train_dataloader.dataset
    assert years.type == "ConcatDataset", "no RepeatDataset around it"
    assert [year.ann_file for year in years.datasets] == [
        "VOC2007/ImageSets/Main/trainval.txt",
        "VOC2012/ImageSets/Main/trainval.txt",
    ]
    assert config.val_dataloader.dataset.ann_file == "VOC2007/ImageSets/Main/test.txt"
    assert config.val_evaluator.eval_mode == "11points"
    assert config.val_evaluator.iou_thrs == pytest.approx(
        [0.5 + 0.05 * i for i in range(10)]
    )
    assert config.train_cfg.val_interval == 2000


@pytest.mark.parametrize("name", FCN)
def test_numbers_of_fcn(name: str) -> None:
    config = recipe(name)
    city = config.dataset == "cityscapes"
    backbone, model = config.model.backbone, config.model
    assert backbone.type == "ResNet", "ResNetV1c has another stem"
    assert backbone.depth == 50
    assert tuple(backbone.dilations) == (1, 1, 2, 4)
    assert tuple(backbone.strides) == (1, 2, 1, 1)
    assert backbone.contract_dilation is True
    assert backbone.norm_eval is False
    assert backbone.style == "pytorch"
    assert backbone.get("frozen_stages", -1) == -1
    assert model.pretrained is None
    main, more = model.decode_head, model.auxiliary_head
    for head, width, channels, at, convs, concat, weight in (
        (main, 2048, 512, 3, 2, True, 1.0),
        (more, 1024, 256, 2, 1, False, 0.4),
    ):
        assert head.type == "FCNHead"
        assert (head.in_channels, head.channels, head.in_index) == (width, channels, at)
        assert (head.num_convs, head.concat_input) == (convs, concat)
        assert head.dropout_ratio == 0.1
        assert head.loss_decode.loss_weight == weight
        assert head.align_corners is city
        assert head.num_classes == (19 if city else 21)
    assert config.optim_wrapper.optimizer == {
        "type": "SGD",
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
    (poly,) = config.param_scheduler
    assert (poly.type, poly.power, poly.eta_min, poly.begin) == ("PolyLR", 0.9, 1e-4, 0)
    train = steps(config.train_dataloader.dataset)
    scale = (2049, 1025) if city else (2048, 512)
    assert train["RandomResize"]["scale"] == scale
    assert train["RandomResize"]["ratio_range"] == (0.5, 2.0)
    assert train["RandomCrop"]["cat_max_ratio"] == 0.75
    assert train["RandomFlip"]["prob"] == 0.5
    assert "PhotoMetricDistortion" in train
    assert steps(config.val_dataloader.dataset)["Resize"]["scale"] == scale
    assert model.test_cfg.mode == ("slide" if city else "whole")
    if city:
        assert tuple(model.test_cfg.stride) == (513, 513)
    assert model.data_preprocessor.seg_pad_val == 255


@pytest.mark.parametrize(
    ("name", "lr", "weight_decay", "layer_decay", "drop_path"),
    [
        ("vit_upernet_8xb2-160k_ade20k-512x512", 1e-4, 0.05, 0.65, 0.1),
        ("swin_upernet_8xb2-160k_ade20k-512x512", 6e-5, 0.01, 1.0, 0.3),
        ("mask-rcnn_swin_fpn_1x_coco", 1e-4, 0.05, 1.0, 0.2),
        ("mask-rcnn_vit_sfp_ms-1x_coco", 1e-4, 0.1, 0.7, 0.1),
    ],
)
def test_numbers_of_transformers(
    name: str, lr: float, weight_decay: float, layer_decay: float, drop_path: float
) -> None:
    config = recipe(name)
    wrapper = config.optim_wrapper
    assert wrapper.optimizer == {
        "type": "AdamW",
        "lr": lr,
        "betas": (0.9, 0.999),
        "weight_decay": weight_decay,
    }
    assert wrapper.constructor == "BackboneLayerDecay"
    assert wrapper.paramwise_cfg == {"layer_decay": layer_decay}
    assert config.model.backbone == {
        "type": "BackboneTaps",
        "drop_path_rate": drop_path,
        **({"norm_maps": True} if "swin" in name else {}),
    }
    if name in SEGMENT:
        warm, poly = config.param_scheduler
        assert (warm.start_factor, warm.end) == (1e-6, 1500)
        assert (poly.type, poly.power, poly.eta_min) == ("PolyLR", 1.0, 0.0)
        assert config.model.auxiliary_head.loss_decode.loss_weight == 0.4
        assert config.model.decode_head.dropout_ratio == 0.1
        channels = {"vit": 768, "swi": 512}[name[:3]]
        assert config.model.decode_head.channels == channels
    if name.startswith("vit_upernet"):
        assert config.model.neck.rescales == [4, 2, 1, 0.5]
        assert config.model.test_cfg.mode == "slide"


def test_numbers_of_the_linear_recipe() -> None:
    config = recipe("linear_8xb2-40k_ade20k-512x512")
    assert config.optim_wrapper.optimizer == {
        "type": "AdamW",
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "weight_decay": 1e-4,
    }
    assert config.optim_wrapper.get("constructor") is None
    head = config.model.decode_head
    assert (config.model.neck, config.model.auxiliary_head) == (None, None)
    assert head.dropout_ratio == 0
    assert head.num_classes == 150
