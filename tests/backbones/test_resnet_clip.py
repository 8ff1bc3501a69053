"""CLIP's ResNets: against OpenCLIP's own, and on weights that are none."""

from __future__ import annotations

import open_clip
import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from ssl_bench import backbones
from ssl_bench.errors import BenchError, CheckpointError, UsageError

NAME = "clip_resnet_1.2.1.1-w8-o24_64"
BATCH = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def perturb(network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
        elif tensor.is_floating_point():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=draw))


@torch.no_grad()
def test_taps_equal_openclips_maps() -> None:
    theirs = ModifiedResNet([1, 2, 1, 1], 24, 4, image_size=64, width=8).eval()
    perturb(theirs)
    assert backbones.infer(theirs.state_dict()).name == NAME
    ours = backbones.build(NAME, 0)
    ours.load_state_dict(theirs.state_dict())
    taps = ours.forward_taps(BATCH, tuple(ours.dims))
    map_ = theirs.stem(BATCH)
    torch.testing.assert_close(taps["stem"], map_, rtol=1e-5, atol=1e-5)
    for tap in ("layer1", "layer2", "layer3", "layer4"):
        map_ = theirs.get_submodule(tap)(map_)
        torch.testing.assert_close(taps[tap], map_, rtol=1e-5, atol=1e-5)
    final = taps["final"].flatten(1)
    torch.testing.assert_close(final, theirs(BATCH), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("clip_resnet50", "RN50"),
        ("clip_resnet101", "RN101"),
        ("clip_resnet50x4", "RN50x4"),
        ("clip_resnet50x16", "RN50x16"),
        ("clip_resnet50x64", "RN50x64"),
    ],
)
def test_published_names_are_openclips_shapes(name: str, theirs: str) -> None:
    config = open_clip.get_model_config(theirs)
    vision = config["vision_cfg"]
    with torch.device("meta"):
        tower = ModifiedResNet(
            vision["layers"],
            config["embed_dim"],
            vision["width"] * 32 // 64,
            vision["image_size"],
            vision["width"],
        )
    made = backbones.skeleton(backbones.parse(name))
    assert {n: t.shape for n, t in made.items()} == {
        n: t.shape for n, t in tower.state_dict().items()
    }


@torch.no_grad()
def test_only_the_attention_minds_the_size() -> None:
    network = backbones.build(NAME, 0)
    small = BATCH[..., :32, :32]
    assert network.forward_taps(small, ("layer4",))["layer4"].shape[-1] == 1
    with pytest.raises(BenchError, match="for images of 64 x 64 pixels, these are 32"):
        network(small)


@pytest.mark.parametrize(
    "name",
    [
        "clip_resnet_3.4.6.3-w64-o1024_224",
        "clip_resnet_1.1.1.1-w8-o24_65",
        "clip_resnet_1.1.1.1-w7",
        "clip_resnet_1.1.0.1-w8",
        "clip_resnet50x32",
    ],
)
def test_an_architecture_has_one_name(name: str) -> None:
    with pytest.raises(UsageError):
        backbones.parse(name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conv1.weight": (4, 1, 3, 3)}, "on colour images"),
        ({"attnpool.positional_embedding": (6, 256)}, "no square grid and a mean"),
        ({"attnpool.positional_embedding": (5,)}, "has no positional_embedding"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state = backbones.skeleton(backbones.parse(NAME))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)
