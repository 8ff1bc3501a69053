"""MobileNetV2: against torchvision's own, and on weights that are none."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import MobileNetV2

from ssl_bench import backbones
from ssl_bench.errors import CheckpointError, UsageError

BATCH = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def perturb(network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
        elif tensor.ndim == 1:
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=draw))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "times", "multiple"),
    [
        ("mobilenet_v2", 1.0, 8),
        ("mobilenet_v2-x0.35", 0.35, 8),
        ("mobilenet_v2-c6.3.5.6.13.19.32.64.1280", 0.2, 1),
    ],
)
def test_taps_equal_torchvisions_maps(name: str, times: float, multiple: int) -> None:
    theirs = MobileNetV2(width_mult=times, round_nearest=multiple).eval()
    perturb(theirs)
    state = {n: t for n, t in theirs.state_dict().items() if "classifier" not in n}
    assert backbones.infer(state).name == name
    ours = backbones.build(name, 0)
    ours.load_state_dict(state)
    taps = ours.forward_taps(BATCH, tuple(ours.dims))
    seen, map_ = [], BATCH
    for layer in theirs.features:
        map_ = layer(map_)
        seen.append(map_)
    places = {"stem": 0, "layer1": 3, "layer2": 6, "layer3": 13, "layer4": 17}
    for tap, place in {**places, "final": 18}.items():
        torch.testing.assert_close(taps[tap], seen[place], rtol=1e-5, atol=1e-5)
    edges = [taps[tap].shape[-1] for tap in ours.dims]
    assert edges == [32, 16, 8, 4, 2, 2]


def test_the_published_count_of_parameters() -> None:
    """torchvision says 3,504,872, of which 1,281,000 are the classifier's."""
    state = backbones.skeleton(backbones.parse("mobilenet_v2"))
    learnt = [t for n, t in state.items() if n.endswith(("weight", "bias"))]
    assert sum(t.numel() for t in learnt) == 3_504_872 - 1_281_000


@pytest.mark.parametrize("times", [0.1, 0.25, 0.5, 0.75, 1.3, 1.4])
def test_multipliers_are_told_from_the_shapes(times: float) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.mobilenet_v2(width_mult=times).state_dict()
    state = {n: t for n, t in theirs.items() if "classifier" not in n}
    spec = backbones.infer(state)
    assert spec.name == f"mobilenet_v2-x{times}"
    made = backbones.skeleton(spec)
    assert {n: t.shape for n, t in made.items()} == {
        n: t.shape for n, t in state.items()
    }


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2-x1.0",
        "mobilenet_v2-x0.34",
        "mobilenet_v2-c32.16.24.32.64.96.160.320.1280",
        "mobilenet_v2-c32.16.24.32.64.96.160.320.0",
        "mobilenet_v2-c8.8.8",
    ],
)
def test_an_architecture_has_one_name(name: str) -> None:
    with pytest.raises(UsageError):
        backbones.parse(name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features.0.0.weight": (32, 1, 3, 3)}, "on colour images"),
        ({"features.19.0.weight": (1,)}, "there are 20 features"),
        ({"features.18.1.weight": (2, 2)}, "features.18.1.weight is not"),
        ({"features.2.conv.3.weight": (24, 1)}, "features.2.conv.3.weight is not"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state = backbones.skeleton(backbones.parse("mobilenet_v2"))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)
