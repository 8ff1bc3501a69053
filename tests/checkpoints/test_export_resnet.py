"""ResNets handed to torchvision, timm, OpenMMLab and detectron2: their own classes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ssl_bench import backbones, checkpoints
from ssl_bench.backbones import BackboneWeights
from ssl_bench.checkpoints import export
from ssl_bench.checkpoints.export.plan import Plan
from ssl_bench.errors import CheckpointError, UsageError
from tests.checkpoints.exports import (
    assert_same_when_read_again,
    images,
    ours,
    theirs,
    weights_of,
    written,
)

KEYS = Path(__file__).parents[1] / "data" / "keys"


def loaded(weights: BackboneWeights, folder: Path, target: str) -> torch.nn.Module:
    """Fill their network, all but the classifier, with the file's tensors."""
    plan = export.plan_for(weights, target)
    network = theirs(plan.build, plan.options)
    if hasattr(network, "fc"):
        network.fc = torch.nn.Identity()
    network.load_state_dict(written(weights, folder, target), strict=True)
    return network


@pytest.mark.parametrize(
    "arch", ["resnet18", "resnet14", "resnext14_8x4d", "wide_resnet14_2"]
)
def test_torchvision_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    network = loaded(weights, tmp_path, "torchvision")
    with torch.inference_mode():
        feats_BD = network(images())
    torch.testing.assert_close(
        feats_BD, ours(weights).mean((2, 3)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "arch",
    [
        "resnet18",
        "resnext14_8x4d",
        "resnet14d-w8",
        "resnet10c-w16",
        "resnet10c-w16-stem12.16.32",
        "resnet14-avgdown",
    ],
)
def test_timm_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    network = loaded(weights, tmp_path, "timm")
    with torch.inference_mode():
        feats_BD = network(images())
    torch.testing.assert_close(
        feats_BD, ours(weights).mean((2, 3)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "arch",
    [
        "resnet18-w8",
        "resnet18-w8-cifar",
        "resnet50-w8-caffe",
        "resnext50_32x4d",
        "wide_resnet50_2-w8",
    ],
)
def test_mmpretrain_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    network = loaded(weights, tmp_path, "mm")
    with torch.inference_mode():
        (map_BCHW,) = network(images())
    torch.testing.assert_close(map_BCHW, ours(weights), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "listed"),
    [
        ("resnet18c-w16", "mmseg_resnet18_v1c"),
        ("resnet50d-w8", "mmseg_resnet50_v1d"),
    ],
)
def test_deep_stems_are_named_as_in_mmsegmentation(
    arch: str, listed: str, tmp_path: Path
) -> None:
    state = written(weights_of(arch, tmp_path), tmp_path, "mm")
    expected = json.loads((KEYS / f"{listed}.json").read_text())
    assert {key: list(tensor.shape) for key, tensor in state.items()} == expected[
        "tensors"
    ]


@pytest.mark.parametrize(
    ("arch", "target"),
    [
        ("resnet18-w4", "mm"),
        ("resnet18c-w4", "mm"),
        ("resnet50d-w4-bgr", "mm"),
        ("resnet18-w4-cifar", "mm"),
        ("resnet18-w4-sobel", "mm"),
        ("resnet14d-w4", "timm"),
        ("resnet10", "torchvision"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_are_read_again(
    arch: str, target: str, suffix: str, tmp_path: Path
) -> None:
    weights = weights_of(arch, tmp_path)
    assert_same_when_read_again(weights, tmp_path, target, suffix)


@pytest.mark.parametrize(
    ("arch", "target", "said", "able"),
    [
        ("resnet18-w4", "torchvision", "64 channels wide", "--to mm"),
        ("resnet18c", "torchvision", "one 7x7 convolution", "--to mm or --to timm"),
        ("resnet50-caffe", "timm", "in the 3x3", "--to mm or --to detectron2"),
        ("resnet18-cifar", "timm", "stem of stride 2", "--to mm"),
        ("resnet18-cifar-p2", "mm", "pads by one pixel", "leave --to out"),
        ("resnet10", "mm", "one of the depths 18, 34", "--to timm or --to torchvision"),
        ("resnet50-avgdown", "mm", "deep stem", "--to timm"),
        ("resnet18-sobel", "detectron2", "on colours", "--to mm or --to timm"),
        ("resnet18-w4", "detectron2", "basic blocks", "--to mm"),
    ],
)
def test_what_cannot_be_held_is_refused_with_what_can(
    arch: str, target: str, said: str, able: str, tmp_path: Path
) -> None:
    weights = weights_of("resnet10-w4", tmp_path)
    weights = dataclasses.replace(weights, arch=arch, spec=backbones.parse(arch))
    with pytest.raises(CheckpointError, match=r"cannot hold") as caught:
        export.plan_for(weights, target)
    assert said in str(caught.value)
    assert able in str(caught.value)


def test_the_order_of_the_colours_is_said(tmp_path: Path) -> None:
    weights = weights_of("resnet10-bgr", tmp_path)
    assert "blue, green, red" in export.usage(weights, "torchvision", None)[-1]
    assert "blue, green, red" in export.usage(weights, "timm", None)[-1]
    weights = weights_of("resnet18-w4-bgr", tmp_path)
    assert "bgr_to_rgb=False" in export.usage(weights, "mm", None)[-1]


def test_a_call_is_shown_as_it_is_typed() -> None:
    options = {"arch": {"width": 3}, "name": "a", "block": torch.nn.GELU}
    assert (
        Plan("m.Net", options).call == "m.Net(arch=dict(width=3), name='a', block=GELU)"
    )


def test_unknown_code_bases_and_wrong_endings(tmp_path: Path) -> None:
    weights = weights_of("resnet18-w4", tmp_path)
    with pytest.raises(UsageError, match=r"unknown code base 'mn'.*'mm'"):
        export.plan_for(weights, "mn")
    for name, target in (("a.pth", "detectron2"), ("a.pkl", "mm"), ("a.pkl", None)):
        with pytest.raises(UsageError, match="must end in"):
            export.check_name(Path(name), target)


def test_our_own_names_are_what_is_written_without_a_target(tmp_path: Path) -> None:
    weights = weights_of("resnet18-w4", tmp_path)
    export.save(weights, tmp_path / "a.pth", None)
    checkpoints.save(weights, tmp_path / "b.pth")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
