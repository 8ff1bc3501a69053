"""Every shipped recipe built by the real packages for a small network of its kind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.openmmlab.built import DETECT, SEGMENT, SMALL, network, recipe, small_model

pytestmark = pytest.mark.filterwarnings("ignore")

CLASSES = 3
SIZE = 96
WIDTHS = {
    # resnet18-w8 doubles from 8; the Swin too; a transformer's maps are all alike.
    SMALL["resnet"]: [8, 16, 32, 64],
    SMALL["maps"]: [8, 16, 32, 64],
    SMALL["tokens"]: [64, 64, 64, 64],
}


def run(module: Any, *values: Any) -> Any:
    with torch.no_grad():
        return module(*values)


def maps_of(model: Any) -> list[torch.Tensor]:
    return list(run(model.extract_feat, torch.zeros(2, 3, SIZE, SIZE)))


@pytest.mark.parametrize("name", DETECT)
def test_a_detector_builds_and_its_channels_agree(name: str) -> None:
    backbone = network(name)
    model = small_model(name, backbone).eval()
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    found = maps_of(model)
    strides = [stride for stride, _ in model.rpn_head.prior_generator.strides]
    assert [m.shape[2] for m in found] == [math.ceil(SIZE / s) for s in strides]
    assert len({m.shape[1] for m in found}) == 1
    scores, _ = run(model.rpn_head, found)
    assert len(scores) == len(strides)
    roi = model.roi_head
    regions = torch.tensor([[0.0, 8, 8, 40, 40], [1.0, 0, 0, 90, 64]])
    boxes = run(roi._bbox_forward, found, regions)
    assert boxes["cls_score"].shape == (2, CLASSES + 1)
    assert boxes["bbox_pred"].shape == (2, 4 * CLASSES)
    if roi.with_mask:
        masks = run(roi._mask_forward, found, regions)["mask_preds"]
        # Twice the side of the regions' maps.
        side = 14 if roi.with_shared_head else 28
        assert masks.shape == (2, CLASSES, side, side)
    if roi.with_shared_head:
        assert found[0].shape[1] == WIDTHS[backbone.arch][2]
        assert model.roi_head.bbox_head.fc_cls.in_features == WIDTHS[backbone.arch][3]


@pytest.mark.parametrize("name", SEGMENT)
def test_a_segmentor_builds_and_its_channels_agree(name: str) -> None:
    backbone = network(name)
    model = small_model(name, backbone).eval()
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    found = maps_of(model)
    kind = recipe(name).backbones
    by_kind = {
        # Strides of 4 and 8, then dilations in place of strides.
        "resnet": [SIZE // 4, SIZE // 8, SIZE // 8, SIZE // 8],
        "maps": [SIZE // 4, SIZE // 8, SIZE // 16, SIZE // 32],
        "tokens": [SIZE // 4, SIZE // 8, SIZE // 16, SIZE // 32],
        "any": [SIZE // 16],
    }
    assert [m.shape[2] for m in found] == by_kind[kind]
    widths = WIDTHS[backbone.arch]
    assert [m.shape[1] for m in found] == (widths[:1] if kind == "any" else widths)
    finest = {"any": SIZE // 16, "resnet": SIZE // 8}.get(kind, SIZE // 4)
    scores = run(model.decode_head, found)
    assert scores.shape == (2, CLASSES, finest, finest)
    if model.with_auxiliary_head:
        more = run(model.auxiliary_head, found)
        assert more.shape == (2, CLASSES, by_kind[kind][2], by_kind[kind][2])
    assert model.num_classes == CLASSES


def test_the_linear_head_has_one_norm_and_one_convolution() -> None:
    model = small_model(
        "linear_8xb2-40k_ade20k-512x512", network("linear-head_digit-scenes")
    )
    shapes = {n: tuple(p.shape) for n, p in model.decode_head.named_parameters()}
    assert shapes == {
        "norm.weight": (64,),
        "norm.bias": (64,),
        "conv_seg.weight": (CLASSES, 64, 1, 1),
        "conv_seg.bias": (CLASSES,),
    }
    head = model.decode_head.train()
    maps = torch.randn(4, 64, 5, 5, generator=torch.Generator().manual_seed(2))
    # In training, the norm takes each channel to mean 0 and variance 1.
    mean, var = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
    normed = (maps - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None]
    weight, bias = head.conv_seg.weight[:, :, 0, 0], head.conv_seg.bias
    expected = torch.einsum("bchw,kc->bkhw", normed, weight) + bias[:, None, None]
    assert torch.allclose(run(head, [maps]), expected, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_shared_head_is_the_last_stage_and_one_norm_more(depth: int) -> None:
    from ssl_bench import backbones
    from ssl_bench.openmmlab.detection_modules import LastStageExtraNorm

    ours = backbones.build(f"resnet{depth}-w8", 5)
    head = LastStageExtraNorm(
        depth=depth,
        norm_cfg={"type": "BN"},
        base_channels=8,
        stride=2,
        dilation=1,
        style="pytorch",
        norm_eval=False,
    ).eval()
    last = {k: v for k, v in ours.state_dict().items() if k.startswith("layer4.")}
    left = head.load_state_dict(last, strict=False)
    assert not left.unexpected_keys
    assert {key.partition(".")[0] for key in left.missing_keys} == {"norm"}
    draw = torch.Generator().manual_seed(4)
    regions = torch.randn(3, ours.dims["layer3"], 14, 14, generator=draw)
    stage = run(ours.layer4, regions)
    assert stage.shape[1:] == (ours.dims["layer4"], 7, 7)
    # A fresh batch norm in evaluation divides by sqrt(1 + 1e-5).
    assert torch.allclose(run(head, regions), stage / math.sqrt(1 + 1e-5), rtol=1e-4)
    head.norm.bias.data.fill_(2.0)
    assert torch.allclose(run(head, regions).mean(), stage.mean() + 2, atol=1e-3)


def test_statistics_of_the_shared_head_stay_with_norm_eval() -> None:
    from ssl_bench.openmmlab.detection_modules import LastStageExtraNorm

    shape = {"base_channels": 8, "stride": 2, "dilation": 1, "style": "pytorch"}
    regions = torch.randn(3, 32, 14, 14, generator=torch.Generator().manual_seed(4))
    for norm_eval in (True, False):
        head = LastStageExtraNorm(
            depth=18, norm_cfg={"type": "BN"}, norm_eval=norm_eval, **shape
        ).train()
        before = {k: v.clone() for k, v in head.state_dict().items()}
        run(head, regions)
        same = {k: torch.equal(v, before[k]) for k, v in head.state_dict().items()}
        still = [same[k] for k in same if "running" in k]
        assert all(still) if norm_eval else not any(still)


def test_the_simple_pyramid_has_five_strides() -> None:
    from ssl_bench.openmmlab.detection_modules import SimpleFeaturePyramid

    pyramid = SimpleFeaturePyramid(in_channels=16, out_channels=8, num_outs=5)
    draw = torch.Generator().manual_seed(1)
    last = torch.randn(2, 16, 6, 10, generator=draw)
    found = run(pyramid, [torch.zeros(2, 16, 6, 10), last])
    sides = [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]
    assert [tuple(m.shape) for m in found] == [(2, 8, *side) for side in sides]
    # Every second pixel of the fourth, and every map normed over its channels.
    assert torch.equal(found[4], found[3][:, :, ::2, ::2])
    for one in found[:4]:
        assert torch.allclose(one.mean(1), torch.zeros(()), atol=1e-5)
        assert torch.allclose(one.var(1, unbiased=False), torch.ones(()), atol=1e-2)
