"""EfficientNet: against timm's own by its names, and on weights that are none."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from ssl_bench import backbones
from ssl_bench.errors import CheckpointError, UsageError

BATCH = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def perturb(network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
        elif tensor.ndim == 1:
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=draw))


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnetv2_b0"]
)
def test_taps_equal_timms_maps(name: str) -> None:
    theirs = timm.create_model(name, num_classes=0).eval()
    perturb(theirs)
    ours = backbones.build(name, 0)
    ours.load_state_dict(theirs.state_dict())
    taps = ours.forward_taps(BATCH, tuple(ours.dims))
    map_ = theirs.bn1(theirs.conv_stem(BATCH))
    seen = [map_]
    for stage in theirs.blocks:
        map_ = stage(map_)
        seen.append(map_)
    places = {"stem": 0, "layer1": 2, "layer2": 3, "layer3": 5, "layer4": -1}
    for tap, place in places.items():
        torch.testing.assert_close(taps[tap], seen[place], rtol=1e-5, atol=1e-5)
    expected = theirs.forward_features(BATCH)
    torch.testing.assert_close(taps["final"], expected, rtol=1e-5, atol=1e-5)
    assert [taps[tap].shape[-1] for tap in ours.dims] == [32, 16, 8, 4, 2, 2]


@torch.no_grad()
def test_tensorflows_padding_and_eps_move_the_features() -> None:
    ours, tf = (backbones.build(f"{p}efficientnet_b0", 1) for p in ("", "tf_"))
    tf.load_state_dict(ours.state_dict())
    assert not torch.allclose(ours(BATCH), tf(BATCH), rtol=1e-3)
    assert ours.fingerprint != tf.fingerprint


@pytest.mark.parametrize(
    "name",
    [
        *(f"efficientnet_b{size}" for size in range(9)),
        *(f"efficientnetv2_{size}" for size in ("s", "m", "l", "xl")),
        *(f"tf_efficientnetv2_b{size}" for size in range(4)),
        "efficientnet_l2",
    ],
)
def test_published_sizes_are_told_from_timms_shapes(name: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name, num_classes=0).state_dict()
    spec = backbones.infer(state)
    assert spec.name == name.removeprefix("tf_")
    made = backbones.skeleton(spec)
    assert {n: t.shape for n, t in made.items()} == {
        n: t.shape for n, t in state.items()
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "efficientnet_lite0",
            "those of an EfficientNet bn1, bn2, conv_dw, conv_pw, se",
        ),
        ("mobilenetv2_100", "those of an EfficientNet"),
        ("mobilenetv3_large_100", "there is no bn2.weight"),
        ("efficientnetv2_rw_s", "are no EfficientNet"),
    ],
)
def test_timms_relatives_are_declined(name: str, reason: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name, num_classes=0).state_dict()
    with pytest.raises(CheckpointError, match=f"not efficientnet: .*{reason}"):
        backbones.infer(state)


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_b9",
        "efficientnetv2_b7",
        "efficientnet_n1.2.2.3.3.4.1_c32.16.24.40.80.112.192.320.1280",
        "efficientnet_n1.1.1.1.1.1_c8.8.8.8.8.8.8.8",
        "efficientnetv2_n1.1.1.1.1.1_c8.8.8.8.8.8.8.8.8",
        "efficientnet_n1.1.1.0.1.1.1_c8.8.8.8.8.8.8.8.8",
    ],
)
def test_an_architecture_has_one_name(name: str) -> None:
    with pytest.raises(UsageError):
        backbones.parse(name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conv_stem.weight": (32, 1, 3, 3)}, "on colour images"),
        ({"bn2.weight": (2, 2)}, "there is no bn2.weight"),
        ({"blocks.3.0.bn3.weight": (80, 1)}, "blocks.3.0.bn3.weight is not the norm"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state = backbones.skeleton(backbones.parse("efficientnet_b0"))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)
