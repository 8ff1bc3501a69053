"""ConvNeXt: against timm's own, and on weights that are none."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from ssl_bench import backbones, pooling
from ssl_bench.errors import CheckpointError, UsageError

BATCH = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
SMALL: dict[str, Any] = {
    "depths": (1, 1, 2, 1),
    "dims": (8, 16, 24, 32),
    "num_classes": 0,
}


def perturb(network: nn.Module) -> Any:
    draw = torch.Generator().manual_seed(7)
    for tensor in network.state_dict().values():
        tensor.add_(0.1 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("", {}),
        ("v2", {"use_grn": True, "ls_init_value": None}),
        ("v2-ls", {"use_grn": True}),
        ("-nols", {"ls_init_value": None}),
        ("-k5", {"kernel_sizes": 5}),
        ("-p2", {"patch_size": 2}),
        ("-eps1e-05", {"norm_eps": 1e-5}),
    ],
)
def test_taps_equal_timms_maps(suffix: str, options: dict[str, Any]) -> None:
    version = "v2" if suffix.startswith("v2") else ""
    name = f"convnext{version}_d1.1.2.1_c8.16.24.32{suffix.removeprefix('v2')}"
    theirs = perturb(ConvNeXt(**SMALL, **options))
    told = backbones.infer(theirs.state_dict()).name
    assert told == name.removesuffix("-eps1e-05")
    ours = backbones.build(name, 0)
    ours.load_state_dict(theirs.state_dict())
    taps = ours.forward_taps(BATCH, tuple(ours.dims))
    map_ = theirs.stem(BATCH)
    expected = {"stem": map_}
    for index, stage in enumerate(theirs.stages, start=1):
        map_ = stage(map_)
        expected[f"layer{index}"] = map_
    for tap, value in expected.items():
        torch.testing.assert_close(taps[tap], value, rtol=1e-5, atol=1e-5)
    pooled = pooling.pool(taps["final"], ours.tap_pooling, ours)
    before_head = theirs.forward_head(map_, pre_logits=True)
    torch.testing.assert_close(pooled, before_head, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_without_a_last_norm_the_feature_is_the_mean_of_the_map() -> None:
    theirs = perturb(ConvNeXt(**SMALL, use_grn=True, ls_init_value=None))
    state = {n: t for n, t in theirs.state_dict().items() if "head" not in n}
    name = "convnextv2_d1.1.2.1_c8.16.24.32-nonorm"
    assert backbones.infer(state).name == name
    ours = backbones.build(name, 0)
    ours.load_state_dict(state)
    expected = theirs.forward_features(BATCH)
    torch.testing.assert_close(ours(BATCH), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("suffix", "final", "others"),
    [
        ("", 1e-6, 1e-6),
        ("-finaleps1e-12", 1e-12, 1e-6),
        ("-eps1e-05", 1e-5, 1e-5),
        ("-eps1e-05-finaleps1e-06", 1e-6, 1e-5),
    ],
)
def test_the_last_norm_may_have_its_own_eps(
    suffix: str, final: float, others: float
) -> None:
    """A norm of variance v and eps e gives features of length sqrt(D v / (v + e))."""
    network = backbones.build(f"convnext_d1.1.2.1_c8.16.24.32{suffix}", 0)
    inside = {
        getattr(module, "eps", others)
        for name, module in network.named_modules()
        if "head" not in name
    }
    assert inside == {others}
    map_ = network.forward_taps(BATCH, ("layer4",))["layer4"].mean((2, 3)) * 1e-3
    norm = network.get_submodule("head.norm")
    length = norm(map_[:, :, None, None]).flatten(1).pow(2).sum(1)
    variance = map_.double().var(1, correction=0)
    expected = 32 * variance / (variance + final)
    torch.testing.assert_close(length.double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "convnext_tiny",
        "convnext_small",
        "convnext_base",
        "convnext_large",
        "convnext_xlarge",
        "convnextv2_nano",
        "convnextv2_tiny",
        "convnextv2_base",
        "convnextv2_huge",
    ],
)
def test_published_sizes_are_told_from_timms_shapes(name: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name, num_classes=0).state_dict()
    if name == "convnextv2_nano":  # timm computes this one with 1x1 convolutions
        state = {
            n: t.flatten(1) if t.ndim == 4 and ".mlp.fc" in n else t
            for n, t in state.items()
        }
    spec = backbones.infer(state)
    assert spec.name == name
    made = backbones.skeleton(spec)
    assert {n: t.shape for n, t in made.items()} == {
        n: t.shape for n, t in state.items()
    }


@pytest.mark.parametrize(
    "name",
    [
        "convnext_enormous",
        "convnext_d3.3.9.3_c96.192.384.768",
        "convnext_tiny-k7",
        "convnextv2_tiny-nols",
        "convnext_tiny-ls",
        "convnext_tiny-eps1e-06",
        "convnext_tiny-finaleps1e-06",
        "convnext_d0.1.1.1_c8.8.8.8",
        "convnext_tiny-nonorm-finaleps1e-12",
    ],
)
def test_an_architecture_has_one_name(name: str) -> None:
    with pytest.raises(UsageError):
        backbones.parse(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnext_nano_ols", "stem has two convolutions"),
        ("convnext_tiny_hnf", "last norm before the pooling"),
    ],
)
def test_timms_relatives_are_declined(name: str, reason: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    with pytest.raises(CheckpointError, match=f"not convnext: .*{reason}"):
        backbones.infer(state)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stem.0.weight": (8, 1, 4, 4)}, "on colour images"),
        ({"stages.1.blocks.0.conv_dw.weight": (16, 1, 5, 5)}, "kernels of 7, 5, 7, 7"),
        ({"stages.1.blocks.0.conv_dw.weight": (16,)}, "are not four stages"),
        ({"stem.0.weight": (8, 3, 2, 2)}, "its first stage no downsampling"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state = backbones.skeleton(backbones.parse("convnext_d1.1.2.1_c8.16.24.32"))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)


def test_a_stem_that_timm_would_compensate_by_dilation_is_refused() -> None:
    state = dict(backbones.build("convnext_atto", 0).state_dict())
    state["stem.0.weight"] = torch.zeros(40, 3, 8, 8)
    with pytest.raises(CheckpointError, match="patches of 8 pixels; up to 4"):
        backbones.infer(state)
    assert backbones.families()["convnext"].parse("convnext_atto-p8") is None
