"""Transformers handed to torchvision, timm and OpenMMLab: their own classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_bench.backbones import BackboneWeights
from ssl_bench.checkpoints import export
from ssl_bench.errors import CheckpointError
from tests.checkpoints.exports import (
    assert_same_when_read_again,
    images,
    ours,
    theirs,
    weights_of,
    written,
)

SIZE = 32


def feature(weights: BackboneWeights, tokens_BTD: Tensor) -> Tensor:
    """Return the feature that our own network makes of its final tokens."""
    options = weights.spec.options
    if options["pooling"] == "class_token":
        return tokens_BTD[:, 0]
    return tokens_BTD[:, options["registers"] + options["class_token"] :].mean(1)


@pytest.mark.parametrize(
    "arch",
    [
        "vit_w64_d2_patch8_32",
        "vit_w64_d2_patch8_h4_32",
        "vit_w64_d2_patch16_m96_eps5_32",
    ],
)
def test_torchvision_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "torchvision")
    network = theirs(plan.build, plan.options)
    network.heads = torch.nn.Identity()
    network.load_state_dict(written(weights, tmp_path, "torchvision"), strict=True)
    with torch.inference_mode():
        feats_BD = network(images(SIZE))
    torch.testing.assert_close(
        feats_BD, ours(weights, SIZE)[:, 0], rtol=1e-5, atol=1e-6
    )


ALL = [
    "vit_w64_d2_patch8_32",
    "vit_w64_d2_patch8_h4_32",
    "vit_w64_d2_patch8_gap_32",
    "vit_w64_d2_patch8_avg_32",
    "vit_w64_d2_patch8_fcnorm_32",
    "vit_w64_d2_patch8_gap_fcnorm_32",
    "vit_w64_d2_patch8_swiglu_32",
    "vit_w64_d2_patch8_m96_swiglu_32",
    "vit_w64_d2_patch8_prenorm_quickgelu_eps5_32",
    "vit_w64_d2_patch8_gelutanh_32",
    "vit_w64_d2_patch8_nobias_32",
    "vit_w64_d2_patch8_gap_nonorm_32",
    "vit_w64_d2_patch8_32x40",
]


@pytest.mark.parametrize(
    "arch",
    [*ALL, "vit_w64_d2_patch8_reg4_32", "vit_w64_d2_patch8_qknorm_32"],
)
def test_timm_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "timm")
    network = theirs(plan.build, plan.options)
    network.load_state_dict(written(weights, tmp_path, "timm"), strict=True)
    batch = pictures(weights)
    with torch.inference_mode():
        feats_BD = network(batch)
    torch.testing.assert_close(feats_BD, pooled(weights, batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arch", [*ALL, "vit_w64_d2_patch8_avg_bothnorms_32"])
def test_mmpretrain_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "mm")
    network = theirs(plan.build, plan.options)
    network.load_state_dict(written(weights, tmp_path, "mm"), strict=True)
    batch = pictures(weights)
    with torch.inference_mode():
        (found,) = network(batch)
    feats_BD = found if found.ndim == 2 else found.mean((2, 3))
    torch.testing.assert_close(feats_BD, pooled(weights, batch), rtol=1e-5, atol=1e-6)


def test_layer_scale_goes_along(tmp_path: Path) -> None:
    """It stands in no name of an architecture, so that a file has to show it."""
    from ssl_bench import checkpoints

    weights = weights_of("vit_w64_d2_patch8_32", tmp_path)
    scaled = dict(weights.state_dict)
    for block in (0, 1):
        scaled[f"blocks.{block}.ls1.gamma"] = torch.rand(64)
        scaled[f"blocks.{block}.ls2.gamma"] = torch.rand(64)
    torch.save(scaled, tmp_path / "scaled.pth")
    weights = checkpoints.load(tmp_path / "scaled.pth")
    for target in ("mm", "timm"):
        plan = export.plan_for(weights, target)
        network = theirs(plan.build, plan.options)
        network.load_state_dict(written(weights, tmp_path, target), strict=True)
        with torch.inference_mode():
            found = network(images(SIZE))
        feats_BD = found[0] if target == "mm" else found
        torch.testing.assert_close(
            feats_BD, ours(weights, SIZE)[:, 0], rtol=1e-5, atol=1e-6
        )
        assert_same_when_read_again(weights, tmp_path, target, ".pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("arch", ALL[:8])
def test_files_are_read_again(arch: str, suffix: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    assert_same_when_read_again(weights, tmp_path, "mm", suffix)
    assert_same_when_read_again(weights, tmp_path, "timm", suffix)


def test_torchvision_files_are_read_again(tmp_path: Path) -> None:
    weights = weights_of("vit_w64_d2_patch8_h4_32", tmp_path)
    assert_same_when_read_again(weights, tmp_path, "torchvision", ".pth")


@pytest.mark.parametrize(
    ("arch", "target", "said", "able"),
    [
        ("vit_w64_d2_patch8_reg4_32", "mm", "no register tokens", "pass --to timm"),
        ("vit_w64_d2_patch8_reg4_32", "torchvision", "register tokens", "--to timm"),
        ("vit_w64_d2_patch8_gap_32", "torchvision", "no class token", "--to mm"),
        ("vit_w64_d2_patch8_qknorm_32", "mm", "norm query and key", "--to timm"),
        ("vit_w64_d2_patch8_swiglu_32", "torchvision", "gated MLP", "--to mm"),
        ("vit_w64_d2_patch8_m100_swiglu_32", "mm", "multiple of 8", "--to timm"),
        ("vit_w64_d2_patch8_avg_bothnorms_32", "timm", "not both", "--to mm"),
        ("vit_w64_d2_patch8_32", "detectron2", "for the family vit", "--to mm"),
    ],
)
def test_what_cannot_be_held_is_refused_with_what_can(
    arch: str, target: str, said: str, able: str, tmp_path: Path
) -> None:
    weights = weights_of(arch, tmp_path)
    with pytest.raises(CheckpointError, match="cannot hold") as caught:
        export.plan_for(weights, target)
    assert said in str(caught.value)
    assert able in str(caught.value)


def pictures(weights: BackboneWeights) -> Tensor:
    """Return images of the size that the network was made for."""
    size = weights.spec.options["size"]
    return images(SIZE) if isinstance(size, int) else torch.randn(2, 3, *size)


@torch.inference_mode()
def pooled(weights: BackboneWeights, batch: Tensor) -> Tensor:
    """Return the feature of our own network, pooled as it says."""
    from ssl_bench import backbones

    return feature(weights, backbones.from_weights(weights)(batch))
