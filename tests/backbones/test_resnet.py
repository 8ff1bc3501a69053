"""ResNet: against torchvision's and timm's own, and on weights that are none."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from ssl_bench import backbones
from ssl_bench.backbones import BackboneWeights, Coverage
from ssl_bench.errors import CheckpointError


def perturb(network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
        elif "bn" in name and tensor.is_floating_point():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=draw))


def hooked(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Return what the producer's own layers put out."""
    seen: dict[str, Tensor] = {}
    places = {"layer1": "layer1", "layer2": "layer2", "layer3": "layer3"}
    places |= {"layer4": "layer4", "maxpool": "pooled stem"}
    for name, key in places.items():

        def keep(module: Any, inputs: Any, output: Tensor, key: str = key) -> None:
            seen[key] = output.detach().clone()

        network.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        network(batch)
    return seen


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_taps_equal_the_producers_own_layers(depth: int, library: str) -> None:
    name = f"resnet{depth}"
    theirs: nn.Module = (
        getattr(torchvision.models, name)()
        if library == "torchvision"
        else timm.create_model(name)
    )
    perturb(theirs.eval())
    ours = backbones.build(name, 0)
    left = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not left.missing_keys
    assert left.unexpected_keys == ["fc.weight", "fc.bias"]
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = hooked(theirs, batch)
    with torch.no_grad():
        taps = ours.forward_taps(batch, tuple(ours.dims))
    taps["pooled stem"] = nn.functional.max_pool2d(taps["stem"], 3, 2, 1)
    for tap, value in expected.items():
        torch.testing.assert_close(taps[tap], value, rtol=1e-5, atol=1e-5)
    assert torch.equal(taps["final"], taps["layer4"])


def test_a_resnet50_has_the_published_count_of_parameters() -> None:
    state = backbones.skeleton(backbones.parse("resnet50"))
    counted = [n for n in state if n.endswith("num_batches_tracked")]
    learnt = [n for n in state if "running" not in n and n not in counted]
    assert len(state) == 318
    assert len(state) - len(counted) == 265
    assert sum(state[name].numel() for name in learnt) == 23_508_032


def test_the_bundled_width_has_the_size_that_was_promised() -> None:
    state = backbones.skeleton(backbones.parse("resnet18-w24"))
    learnt = [t for n, t in state.items() if n.endswith(("weight", "bias"))]
    assert round(sum(t.numel() for t in learnt) / 1e6, 1) == 1.6


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("width", [16, 64, 96])
def test_depth_and_width_are_told_from_the_shapes(depth: int, width: int) -> None:
    name = f"resnet{depth}" + ("" if width == 64 else f"-w{width}")
    spec = backbones.infer(backbones.skeleton(backbones.parse(name)))
    assert spec.name == name
    assert spec.options["width"] == width
    layers = 3 if spec.options["bottleneck"] else 2
    assert layers * sum(spec.options["blocks"]) + 2 == depth


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conv1.weight": (64, 3, 5, 5)}, r"\(64, 3, 5, 5\); a ResNet's is"),
        ({"conv1.weight": (64, 1, 7, 7)}, "on colour images"),
        ({"conv1.weight": (64,)}, "a ResNet's is"),
        ({"conv2.weight": (64, 64, 3, 3)}, "as in CLIP's ResNets"),
        ({"layer1.0.se.conv.weight": (1, 1, 3)}, "channel attention"),
        ({"maxpool.0.weight": (64, 64, 3, 3)}, "in place of the pooling"),
        ({"layer1.0.conv3.weight": (256, 64, 1, 1)}, "width cannot be read"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state = backbones.skeleton(backbones.parse("resnet18"))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)


def weights_of(arch: str, state: dict[str, Tensor], **more: Any) -> BackboneWeights:
    spec = backbones.parse(arch)
    return BackboneWeights(
        arch=arch,
        state_dict=state,
        layout="resnet_flat",
        source="model.pth",
        sha256="0" * 64,
        encoder="online",
        coverage=Coverage(len(state)),
        input=backbones.InputSpec((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        spec=spec,
        **more,
    )


def test_a_backbone_is_filled_from_weights() -> None:
    donor = backbones.build("resnet18-w8", 3)
    weights = weights_of(
        "resnet18-w8",
        {
            n: t.half() if t.is_floating_point() else t
            for n, t in donor.state_dict().items()
        },
    )
    made = backbones.from_weights(weights)
    assert made.weights is weights
    assert made.input.mean == (0.5, 0.5, 0.5)
    assert made.fingerprint == weights.fingerprint
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in made.parameters())
    for name, tensor in made.state_dict().items():
        assert tensor.data_ptr() != weights.state_dict[name].data_ptr()


def test_counters_may_be_absent_but_nothing_else() -> None:
    state = dict(backbones.build("resnet18-w8", 3).state_dict())
    bare = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    made = backbones.from_weights(weights_of("resnet18-w8", bare))
    assert int(made.state_dict()["bn1.num_batches_tracked"]) == 0
    bare.pop("layer4.1.bn2.running_var")
    with pytest.raises(CheckpointError, match=r"layer4\.1\.bn2\.running_var"):
        backbones.from_weights(weights_of("resnet18-w8", bare))


def test_partial_weights_are_completed_by_the_seed() -> None:
    state = {"conv1.weight": torch.ones(8, 3, 7, 7)}
    weights = weights_of("resnet18-w8", state, partial=True)
    one, two = (backbones.from_weights(weights, seed) for seed in (1, 2))
    assert torch.equal(one.state_dict()["conv1.weight"], state["conv1.weight"])
    name = "layer1.0.conv1.weight"
    drawn = backbones.build("resnet18-w8", 1).state_dict()[name]
    assert torch.equal(one.state_dict()[name], drawn)
    assert not torch.equal(one.state_dict()[name], two.state_dict()[name])
