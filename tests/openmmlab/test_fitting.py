"""Models made to fit a network: numbers by hand for architectures of every kind."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from ssl_bench import backbones
from ssl_bench.backbones import Backbone
from ssl_bench.config import plain
from ssl_bench.errors import ConfigError
from ssl_bench.openmmlab import gate
from ssl_bench.openmmlab.fitting import fit, kind_of, pipeline_of, plain_depth
from tests.openmmlab.built import (
    C4,
    DETECT,
    FCN,
    FPN,
    LINEAR,
    SEGMENT,
    UPERNET,
    recipe,
    small_model,
)
from tests.openmmlab.built import fitted as fitted_to

pytestmark = pytest.mark.filterwarnings("ignore")

VOC = "faster-rcnn_r50-c4_ms-24k_voc0712"
COCO_C4 = "mask-rcnn_r50-c4_ms-1x_coco"
COCO_FPN = "mask-rcnn_r50_fpn_ms-1x_coco"
COCO_SFP = "mask-rcnn_vit_sfp_ms-1x_coco"
COCO_SWIN = "mask-rcnn_swin_fpn_1x_coco"
VOC_FCN = "fcn_r50-d8_4xb4-20k_voc12aug-512x512"
ADE_VIT = "vit_upernet_8xb2-160k_ade20k-512x512"
ADE_SWIN = "swin_upernet_8xb2-160k_ade20k-512x512"
ADE_LINEAR = "linear_8xb2-40k_ade20k-512x512"
SWIN = "swin_e8_d2-2-2-2_h1-1-2-2_patch4_window4_128"


def build(arch: str) -> Backbone:
    """Build a network, of large ones only the shapes."""
    with torch.device("meta"):
        return backbones.families()[backbones.parse(arch).family].build(
            backbones.parse(arch)
        )


@pytest.mark.parametrize(
    ("arch", "depth"),
    [
        ("resnet18", 18),
        ("resnet34", 34),
        ("resnet50", 50),
        ("resnet101", 101),
        ("resnet152", 152),
        ("resnet18-w24", 18),
        ("resnet50-w8", 50),
        ("resnet50-bgr", 50),
        # OpenMMLab's class has no such depths,
        ("resnet10", None),
        ("resnet26", None),
        ("resnet200", None),
        ("resnet_bottleneck_1.2.1.1", None),
        # and these compute something else.
        ("resnet50c", None),
        ("resnet50d", None),
        ("resnet50-avgdown", None),
        ("resnet50-sobel", None),
        ("resnet50-cifar", None),
        ("resnet50-caffe", None),
        ("resnet50-linearstem", None),
        ("resnet18-stem16", None),
        ("resnet50-b96", None),
        ("resnext50_32x4d", None),
        ("wide_resnet50_2", None),
        ("vit_tiny_patch16_224", None),
        ("swin_tiny_patch4_window7_224", None),
    ],
)
def test_depth_of_a_plain_resnet(arch: str, depth: int | None) -> None:
    backbone = build(arch)
    assert plain_depth(backbone) == depth
    if depth is not None:
        assert kind_of(backbone) == "resnet"
    elif arch.startswith(("res", "wide")):
        assert kind_of(backbone) == "maps"


@pytest.mark.parametrize(
    ("arch", "kind"),
    [
        ("swin_tiny_patch4_window7_224", "maps"),
        ("swinv2_tiny_patch4_window8_256", "maps"),
        ("convnext_d2.2.2.2_c8.16.32.64", "maps"),
        ("efficientnet_b0", "maps"),
        ("mobilenet_v2", "maps"),
        ("vit_tiny_patch16_224", "tokens"),
        ("vit_base_patch14_518", "tokens"),
        ("beit_w48_d5_patch16_224", "tokens"),
        ("dinov3_w48_d5_patch16_reg4", "tokens"),
        # Two stages make no pyramid.
        ("swin_e8_d2-3_h1-2_patch4_window4_48", "any"),
    ],
)
def test_kind_of_other_networks(arch: str, kind: str) -> None:
    assert kind_of(build(arch)) == kind


def test_a_network_of_nobodys_has_no_depth() -> None:
    backbone = build("resnet18-w8")
    backbone.arch = "mine"
    assert plain_depth(backbone) is None


@pytest.mark.parametrize(
    ("arch", "depth", "width", "maps"),
    [
        ("resnet18-w24", 18, 24, [24, 48, 96, 192]),
        ("resnet50", 50, 64, [256, 512, 1024, 2048]),
        ("resnet101", 101, 64, [256, 512, 1024, 2048]),
    ],
)
def test_fitted_to_resnets(arch: str, depth: int, width: int, maps: list[int]) -> None:
    backbone = build(arch)
    fpn = fitted_to(COCO_FPN, backbone, 7).model
    c4 = fitted_to(COCO_C4, backbone, 7).model
    fcn = fitted_to(VOC_FCN, backbone, 7).model
    for model in (fpn, c4, fcn):
        assert model.backbone.depth == depth
        assert model.backbone.base_channels == width
        assert model.backbone.stem_channels == width
        assert model.backbone.type == "ResNet"
    assert fpn.neck.in_channels == maps
    assert fpn.roi_head.bbox_head.num_classes == 7
    assert fpn.roi_head.mask_head.num_classes == 7
    # What follows from the neck stays.
    assert fpn.rpn_head.in_channels == 256
    assert fpn.roi_head.bbox_head.in_channels == 256
    shared = c4.roi_head.shared_head
    assert (shared.depth, shared.base_channels) == (depth, width)
    assert c4.rpn_head.in_channels == c4.rpn_head.feat_channels == maps[2]
    assert c4.roi_head.bbox_roi_extractor.out_channels == maps[2]
    assert c4.roi_head.bbox_head.in_channels == maps[3]
    assert c4.roi_head.mask_head.in_channels == maps[3]
    assert c4.roi_head.bbox_head.num_classes == 7
    assert fcn.decode_head.in_channels == maps[3]
    assert fcn.auxiliary_head.in_channels == maps[2]
    assert fcn.decode_head.num_classes == fcn.auxiliary_head.num_classes == 7


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(12, (4, 6, 8, 12)), (24, (8, 12, 16, 24)), (6, (2, 3, 4, 6))],
)
def test_fitted_to_transformers_of_several_depths(
    depth: int, blocks: tuple[int, ...]
) -> None:
    backbone = build(f"vit_w64_d{depth}_patch16_224")
    model = fitted_to(ADE_VIT, backbone, 5).model
    assert model.backbone.type == "BackboneTaps"
    assert model.backbone.arch == backbone.arch
    assert model.backbone.taps == [f"block{number}" for number in blocks]
    assert model.neck.embed_dim == 64
    assert model.decode_head.in_channels == [64] * 4
    assert model.auxiliary_head.in_channels == 64
    assert model.decode_head.num_classes == model.auxiliary_head.num_classes == 5
    # Blocks of 16 pixels are what the recipe was written for.
    assert tuple(model.data_preprocessor.size) == (512, 512)
    sfp = fitted_to(COCO_SFP, backbone, 5).model
    assert sfp.backbone.taps == ["final"]
    assert sfp.neck.in_channels == 64
    assert sfp.rpn_head.anchor_generator.strides == [4, 8, 16, 32, 64]


def test_patches_of_fourteen_pixels() -> None:
    backbone = build("vit_w64_d6_patch14_518")
    detector = fitted_to(COCO_SFP, backbone).model
    assert detector.rpn_head.anchor_generator.strides == [3.5, 7, 14, 28, 56]
    roi = detector.roi_head
    assert roi.bbox_roi_extractor.featmap_strides == [3.5, 7, 14, 28]
    assert roi.mask_roi_extractor.featmap_strides == [3.5, 7, 14, 28]
    # The fourth map has half the pixels of the patches, and needs whole ones.
    assert detector.data_preprocessor.pad_size_divisor == 28
    config = fitted_to(ADE_VIT, backbone)
    # 512 / 14 = 36.6: 37 patches are 518 pixels.
    assert tuple(config.model.data_preprocessor.size) == (518, 518)
    assert tuple(config.model.test_cfg.crop_size) == (518, 518)
    steps = {s["type"]: s for s in pipeline_of(config.train_dataloader.dataset)}
    assert tuple(steps["RandomCrop"]["crop_size"]) == (518, 518)


def test_padding_follows_the_crops_of_patches() -> None:
    config = recipe(ADE_VIT)
    pipeline = pipeline_of(config.train_dataloader.dataset)
    pipeline.insert(-1, {"type": "Pad", "size": (512, 512)})
    found = fit(config, build("vit_w64_d6_patch14_518"), 3, "x")
    steps = {s["type"]: s for s in pipeline_of(found.train_dataloader.dataset)}
    assert tuple(steps["Pad"]["size"]) == (518, 518)


def test_a_detector_on_patches_of_fourteen_has_anchors_on_its_maps() -> None:
    backbone = backbones.build("vit_w32_d2_patch14_28", 0)
    model = small_model(COCO_SFP, backbone).eval()
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, 56, 84))
    sides = [tuple(m.shape[2:]) for m in maps]
    assert sides == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    anchors = model.rpn_head.prior_generator.grid_priors(sides, device="cpu")
    # Three ratios at each place; middles are a stride apart.
    for (height, width), stride, boxes in zip(
        sides, (3.5, 7, 14, 28, 56), anchors, strict=True
    ):
        middles = (boxes[:, :2] + boxes[:, 2:]).reshape(height, width, 3, 2) / 2
        assert middles[0, 0, 0].tolist() == pytest.approx([0, 0], abs=1e-4)
        last = [(width - 1) * stride, (height - 1) * stride]
        assert middles[-1, -1, 0].tolist() == pytest.approx(last, abs=1e-3)


def test_fitted_to_swin() -> None:
    backbone = build("swin_small_patch4_window7_224")
    detector = fitted_to(COCO_SWIN, backbone).model
    assert detector.backbone.taps == ["layer1", "layer2", "layer3", "layer4"]
    assert detector.neck.in_channels == [96, 192, 384, 768]
    assert detector.rpn_head.anchor_generator.strides == [4, 8, 16, 32, 64]
    segmentor = fitted_to(ADE_SWIN, build("swin_base_patch4_window7_224"), 9).model
    assert segmentor.decode_head.in_channels == [128, 256, 512, 1024]
    assert segmentor.auxiliary_head.in_channels == 512
    assert segmentor.decode_head.num_classes == 9
    # A plain ResNet has four maps too.
    plain_one = fitted_to(COCO_SWIN, build("resnet50")).model
    assert plain_one.neck.in_channels == [256, 512, 1024, 2048]
    assert plain_one.backbone.arch == "resnet50"


@pytest.mark.parametrize(
    ("arch", "tap", "width"),
    [
        ("resnet50", "layer4", 2048),
        (SWIN, "layer4", 64),
        ("vit_w64_d6_patch16_160", "final", 64),
        # Norm after the mean of the patches: the last block still has them all.
        ("vit_w64_d6_patch16_fcnorm_160", "block6", 64),
        # ... and where the class token is the feature, all tokens are normed.
        ("vit_w64_d6_patch16_cls_fcnorm_160", "final", 64),
        ("swin_e8_d2-3_h1-2_patch4_window4_48", "final", 16),
        ("efficientnet_b0", "layer4", 320),
    ],
)
def test_the_linear_head_takes_the_last_map(arch: str, tap: str, width: int) -> None:
    model = fitted_to(ADE_LINEAR, build(arch)).model
    assert model.backbone.taps == [tap]
    assert model.decode_head.in_channels == width
    assert model.decode_head.channels == width


def test_images_have_the_statistics_of_the_checkpoint() -> None:
    backbone = build("vit_w64_d6_patch16_160")
    half = dataclasses.replace(backbone.input, mean=(0.5, 0.4, 0.3), std=(0.5,) * 3)
    backbone.input = half
    pixels = fitted_to(UPERNET, backbone).model.data_preprocessor
    assert pixels.mean == pytest.approx([127.5, 102, 76.5])
    assert pixels.std == [127.5] * 3
    assert pixels.bgr_to_rgb is True
    plain_one = fitted_to(FPN, build("resnet50")).model.data_preprocessor
    assert plain_one.mean == [123.675, 116.28, 103.53]
    assert plain_one.std == [58.395, 57.12, 57.375]


@pytest.mark.parametrize("name", [FPN, FCN, LINEAR])
@pytest.mark.parametrize("arch", ["resnet50-w8", "resnet50-w8-bgr"])
def test_the_network_sees_the_same_pixels_as_our_own(name: str, arch: str) -> None:
    """Whatever the order of its channels, and whoever computes it."""
    backbone = backbones.build(arch, 0)
    model = small_model(name, backbone).eval()
    gate.place(backbone, model)
    draw = torch.Generator().manual_seed(3)
    rgb = torch.randint(0, 256, (1, 3, 64, 64), generator=draw)
    mean = torch.tensor(backbone.input.mean)[:, None, None]
    std = torch.tensor(backbone.input.std)[:, None, None]
    with torch.no_grad():
        ours = backbone.forward_taps((rgb / 255 - mean) / std, ["layer1"])["layer1"]
        # OpenCV reads blue, green, red.
        pixels = model.data_preprocessor
        bgr = rgb.flip(1).float()
        if pixels._channel_conversion:
            bgr = bgr[:, [2, 1, 0]]
        given = (bgr - pixels.mean) / pixels.std
        network = model.backbone
        if name == LINEAR:
            network.taps = ("layer1",)
        theirs = network(given)[0]
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_grey_networks_are_refused() -> None:
    backbone = build("vit_w64_d6_patch16_160")
    backbone.input = dataclasses.replace(backbone.input, channels=1)
    with pytest.raises(ConfigError, match="takes no colour images"):
        fitted_to(UPERNET, backbone)


@pytest.mark.parametrize(
    ("name", "arch", "taps"),
    [
        (VOC, "vit_w64_d6_patch16_160", "block1, block2"),
        (VOC, "resnet50c", "stem, layer1, layer2"),
        (FCN, SWIN, "stem, layer1"),
        (COCO_SFP, "resnet50", "stem, layer1"),
        (COCO_SWIN, "vit_w64_d6_patch16_160", "block1, block2"),
        (ADE_VIT, SWIN, "stem, layer1"),
        (ADE_SWIN, "swin_e8_d2-3_h1-2_patch4_window4_48", "stem, layer1, layer2"),
    ],
)
def test_a_network_that_does_not_fit_is_told_its_taps(
    name: str, arch: str, taps: str
) -> None:
    with pytest.raises(ConfigError) as error:
        fitted_to(name, build(arch))
    (sentence,) = error.value.complaints
    assert taps in sentence
    assert name in sentence
    assert arch in sentence
    assert "leave CONFIG out" in sentence


@pytest.mark.parametrize(
    ("name", "asked"),
    [(ADE_VIT, ["block1", "block2"]), (ADE_VIT, ["block1", "block2", "block3", "b"])],
)
def test_taps_of_ones_own_have_to_be_there(name: str, asked: list[str]) -> None:
    config = recipe(name)
    config.model.backbone.taps = asked
    with pytest.raises(ConfigError, match="block2,block3,block4,block6") as error:
        fit(config, build("vit_w64_d6_patch16_160"), 3, name)
    assert ",".join(asked) in str(error.value)
    assert "takes 4 out of block1, block2" in str(error.value)


def test_taps_of_ones_own_are_taken() -> None:
    config = recipe(ADE_VIT)
    config.model.backbone.taps = ["block1", "block2", "block5", "final"]
    found = fit(config, build("vit_w64_d6_patch16_160"), 3, "x").model
    assert found.backbone.taps == ["block1", "block2", "block5", "final"]
    config = recipe(ADE_LINEAR)
    config.model.backbone.taps = "block3"
    found = fit(config, build("vit_w64_d6_patch16_160"), 3, "x").model
    assert found.backbone.taps == ["block3"]


@pytest.mark.parametrize("name", [FPN, C4, FCN, UPERNET, COCO_SFP, ADE_LINEAR])
def test_the_recipe_stays_as_it_was(name: str) -> None:
    assert name in DETECT + SEGMENT
    config = recipe(name)
    before = plain(config.to_dict())
    arch = "vit_w64_d6_patch14_518" if "vit" in name or "linear" in name else "resnet34"
    found: Any = fit(config, build(arch), 3, name)
    assert plain(config.to_dict()) == before
    assert plain(found.to_dict()) != before
