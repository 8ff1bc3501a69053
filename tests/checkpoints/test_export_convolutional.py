"""ConvNeXt, MobileNetV2 and EfficientNet in the classes of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

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

CONVNEXT = "convnext_d1.1.2.1_c8.16.32.64"
CONVNEXT_V2 = "convnextv2_d1.1.2.1_c8.16.32.64"


def loaded(weights: BackboneWeights, folder: Path, target: str) -> nn.Module:
    """Fill their network, all but the classifier, with the file's tensors."""
    plan = export.plan_for(weights, target)
    network = theirs(plan.build, plan.options)
    last = getattr(network, "classifier", None)
    if target == "torchvision" and isinstance(last, nn.Sequential):
        last[-1] = nn.Identity()
    network.load_state_dict(written(weights, folder, target), strict=True)
    return network


@torch.inference_mode()
def feature(network: nn.Module) -> Tensor:
    found = network(images())
    found = found[-1] if isinstance(found, tuple) else found
    return found.mean((2, 3)) if found.ndim == 4 else found


@pytest.mark.parametrize(
    ("arch", "target"),
    [
        (CONVNEXT, "mm"),
        (CONVNEXT, "timm"),
        (CONVNEXT, "torchvision"),
        (f"{CONVNEXT}-nols-eps1e-05", "mm"),
        (f"{CONVNEXT}-k5-p2-nols-eps1e-05", "timm"),
        (CONVNEXT_V2, "mm"),
        (CONVNEXT_V2, "timm"),
        ("mobilenet_v2-x0.5", "mm"),
        ("mobilenet_v2-x0.5", "timm"),
        ("mobilenet_v2-x0.5", "torchvision"),
        ("mobilenet_v2-x1.4", "timm"),
        ("efficientnet_b0", "timm"),
        ("tf_efficientnet_b0", "timm"),
    ],
)
def test_their_classes_compute_the_same(arch: str, target: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    network = loaded(weights, tmp_path, target)
    expected = ours(weights).mean((2, 3))
    torch.testing.assert_close(feature(network), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "target"),
    [
        (CONVNEXT, "mm"),
        (CONVNEXT, "torchvision"),
        (f"{CONVNEXT}-finaleps1e-12", "mm"),
        (f"{CONVNEXT}-finaleps1e-12", "torchvision"),
        (f"{CONVNEXT_V2}-nonorm", "mm"),
        ("mobilenet_v2-x0.25", "mm"),
        ("mobilenet_v2-x0.35", "timm"),
        ("mobilenet_v2-x0.25", "torchvision"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_are_read_again(
    arch: str, target: str, suffix: str, tmp_path: Path
) -> None:
    weights = weights_of(arch, tmp_path)
    assert_same_when_read_again(weights, tmp_path, target, suffix)


def test_what_a_class_cannot_be_told_is_said(tmp_path: Path) -> None:
    weights = weights_of(f"{CONVNEXT}-finaleps1e-12", tmp_path)
    assert export.usage(weights, "mm", None)[-1] == "set norm3.eps to 1e-12"
    assert export.usage(weights, "timm", None)[-1] == "set head.norm.eps to 1e-12"
    assert (
        export.usage(weights, "torchvision", None)[-1]
        == "set classifier[0].eps to 1e-12"
    )
    weights = weights_of(f"{CONVNEXT}-nonorm", tmp_path)
    assert "leave norm3 out" in export.usage(weights, "mm", None)[-1]
    assert "leave head.norm out" in export.usage(weights, "timm", None)[-1]


@pytest.mark.parametrize(
    ("arch", "target", "said", "able"),
    [
        (CONVNEXT_V2, "torchvision", "global response norm", "--to mm or --to timm"),
        (f"{CONVNEXT}-k5", "mm", "7 pixels", "--to timm"),
        (f"{CONVNEXT}-p2", "mm", "patches of 4", "--to timm"),
        ("mobilenet_v2-x0.25", "timm", "times one of 0.35", "--to mm"),
        ("mobilenet_v2-c8.8.8.8.8.8.8.8.9", "mm", "times one factor", "leave --to out"),
        (CONVNEXT, "detectron2", "for the family convnext", "--to mm"),
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
