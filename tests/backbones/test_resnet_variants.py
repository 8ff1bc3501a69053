"""Stems, shortcuts, groups and strides of ResNets, against the producers' own."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.models.resnet import Bottleneck as TimmBottleneck
from timm.models.resnet import ResNet as TimmResNet
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from transformers import ResNetConfig, ResNetModel

from ssl_bench import backbones
from ssl_bench.errors import CheckpointError, UsageError

BATCH = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def perturb(network: nn.Module) -> Any:
    draw = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
        elif tensor.ndim == 1:
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


@torch.no_grad()
def ours(name: str, state: dict[str, Tensor], batch: Tensor = BATCH) -> Tensor:
    spec = backbones.infer(state)
    hidden = backbones.parse(name).options
    assert {**spec.options, **hidden} == hidden
    network = backbones.build(name, 0)
    network.load_state_dict(state)
    return network(batch)


def same_as_inferred(name: str, theirs: nn.Module, expected: Tensor) -> None:
    state = {n: t for n, t in theirs.state_dict().items() if not n.startswith("fc.")}
    assert backbones.infer(state).name == name
    torch.testing.assert_close(ours(name, state), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet14c-w8", {"stem_type": "deep", "stem_width": 4}),
        ("resnet14d-w8", {"stem_type": "deep", "stem_width": 4, "avg_down": True}),
        (
            "resnet14d-w8-stem6.8.16",
            {"stem_type": "deep_tiered", "stem_width": 8, "avg_down": True},
        ),
        ("resnet14-w8-stem64-avgdown", {"avg_down": True}),
        ("resnext14_4x32d-w8-stem64", {"cardinality": 4, "base_width": 32}),
        ("wide_resnet14_2-w8-stem64", {"base_width": 128}),
        ("resnet14-b96-w8-stem64", {"base_width": 96}),
    ],
)
def test_timms_variants_are_told_and_computed(
    name: str, options: dict[str, Any]
) -> None:
    channels = (8, 16, 32, 64)
    theirs = perturb(
        TimmResNet(TimmBottleneck, (1, 1, 1, 1), channels=channels, **options)
    )
    same_as_inferred(name, theirs, theirs.forward_features(BATCH))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnext14_8x4d", {"groups": 8, "width_per_group": 4}),
        ("wide_resnet14_2", {"width_per_group": 128}),
        ("resnet_bottleneck_1.2.1.1", {}),
    ],
)
def test_torchvisions_groups_and_widths(name: str, options: dict[str, Any]) -> None:
    blocks = [1, 2, 1, 1] if "bottleneck" in name else [1, 1, 1, 1]
    theirs = perturb(torchvision.models.ResNet(Bottleneck, blocks, **options))
    trunk = nn.Sequential(*list(theirs.children())[:-2])
    same_as_inferred(name, theirs, trunk(BATCH))


@pytest.mark.parametrize(
    "name", ["resnext50_32x4d", "wide_resnet50_2", "resnext101_64x4d"]
)
def test_published_names_are_torchvisions_shapes(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
    shapes = {n: t.shape for n, t in theirs.items() if not n.startswith("fc.")}
    made = backbones.skeleton(backbones.parse(name))
    assert {n: t.shape for n, t in made.items()} == shapes


@pytest.mark.parametrize("name", ["resnet18d", "resnet26d", "resnet50c", "resnet101d"])
def test_published_names_are_timms_shapes(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name, num_classes=0).state_dict()
    made = backbones.skeleton(backbones.parse(name))
    assert {n: t.shape for n, t in made.items()} == {
        n: t.shape for n, t in theirs.items()
    }


@torch.no_grad()
@pytest.mark.parametrize("padding", [1, 2])
def test_a_cifar_stem_has_no_pooling(padding: int) -> None:
    theirs = perturb(torchvision.models.resnet18())
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=padding, bias=False)
    theirs.maxpool = nn.Identity()
    state = {n: t for n, t in theirs.state_dict().items() if not n.startswith("fc.")}
    assert backbones.infer(state).name == "resnet18-cifar"
    name = "resnet18-cifar" if padding == 1 else "resnet18-cifar-p2"
    expected = nn.Sequential(*list(theirs.children())[:-2])(BATCH[..., :16, :16])
    found = ours(name, state, BATCH[..., :16, :16])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("caffe", [False, True])
def test_caffe_has_the_stride_in_the_first_convolution(caffe: bool) -> None:
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 1, 1],
        downsample_in_bottleneck=caffe,
    )
    theirs = perturb(ResNetModel(config))
    network = backbones.build("resnet14-w8-caffe" if caffe else "resnet14-w8", 0)
    for layer, stage in enumerate(theirs.encoder.stages, start=1):
        block, inner = network.get_submodule(f"layer{layer}.0"), stage.layers[0]
        copy(inner.shortcut.convolution, block.downsample[0])
        copy(inner.shortcut.normalization, block.downsample[1])
        for index, part in enumerate(inner.layer, start=1):
            copy(part.convolution, block.get_submodule(f"conv{index}"))
            copy(part.normalization, block.get_submodule(f"bn{index}"))
    copy(theirs.embedder.embedder.convolution, network.conv1)
    copy(theirs.embedder.embedder.normalization, network.bn1)
    expected = theirs(BATCH).last_hidden_state
    torch.testing.assert_close(network(BATCH), expected, rtol=1e-5, atol=1e-5)


def copy(theirs: nn.Module, our: nn.Module) -> None:
    our.load_state_dict(theirs.state_dict())


@torch.no_grad()
def test_bgr_networks_are_given_rgb() -> None:
    rgb, bgr = backbones.build("resnet10-w8", 3), backbones.build("resnet10-w8-bgr", 3)
    assert not torch.allclose(rgb(BATCH), bgr(BATCH))
    assert torch.equal(rgb(BATCH[:, [2, 1, 0]]), bgr(BATCH))
    assert rgb.fingerprint != bgr.fingerprint


@torch.no_grad()
def test_sobel_stems_see_the_gradients_of_the_mean() -> None:
    """Of 3x + 5y: a Sobel kernel weighs rows 1, 2, 1 and differs over two pixels."""
    network = backbones.build("resnet10-w8-sobel", 0)
    across = torch.arange(9.0).expand(9, 9)
    grey = 3 * across + 5 * across.T
    image = torch.stack([grey - 6, grey, grey + 6])[None]
    seen = network.prepare(image)
    assert seen.shape == (1, 2, 9, 9)
    inside = seen[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside[0], torch.full((7, 7), -3 * 2.0 * 4))
    torch.testing.assert_close(inside[1], torch.full((7, 7), -5 * 2.0 * 4))
    corner = -(2 * grey[0, 1] + grey[1, 1])
    torch.testing.assert_close(seen[0, 0, 0, 0], corner)


@pytest.mark.parametrize(
    "name",
    [
        "resnet50-w64",
        "resnet18-caffe",
        "resnet50-p2",
        "resnet50-cifar-p1",
        "resnet50-b128",
        "resnet_bottleneck_3.4.6.3",
        "resnext50_1x64d",
        "resnet50_32x4d",
        "resnet50-bgr-caffe",
        "resnet_basic_1.0.1.1",
        "resnet50c-cifar",
    ],
)
def test_an_architecture_has_one_name(name: str) -> None:
    with pytest.raises(UsageError):
        backbones.parse(name)


@pytest.mark.parametrize(
    "name",
    [
        "resnet_basic_1.2.1.1d-w24-stem8.8.16-bgr",
        "resnext101d_64x4d-w32-caffe-bgr",
        "wide_resnet50_3-w8-stem64-avgdown-cifar-p2",
        "resnet50-b96-w8-sobel-caffe",
    ],
)
def test_every_option_can_be_named(name: str) -> None:
    spec = backbones.parse(name)
    assert spec.name == name
    told = backbones.infer(backbones.skeleton(spec)).options
    hidden = {key: spec.options[key] for key in ("style", "bgr", "padding")}
    assert {**told, **hidden} == spec.options


@pytest.mark.parametrize("name", ["seresnet50", "ecaresnet26t", "resnet50_gn"])
def test_derived_networks_are_declined(name: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    with pytest.raises(CheckpointError, match=r"not resnet: .*support"):
        backbones.infer(state)


def test_uneven_groups_are_declined() -> None:
    state = backbones.skeleton(backbones.parse("resnet14-w8"))
    state["layer2.0.conv2.weight"] = torch.empty(16, 8, 3, 3)
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv2\.weight has shape"):
        backbones.infer(state)
