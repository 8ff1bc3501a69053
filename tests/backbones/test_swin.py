"""Swin transformers: against timm's own forward pass, and on odd names and weights."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor

from ssl_bench import backbones
from ssl_bench.errors import BenchError

SMALL = "swin_e8_d2-2_h1-2_patch4_window4_48"
STAGES = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "num_classes": 0}


def drawn(network: Any) -> Any:
    draw = torch.Generator().manual_seed(2)
    for tensor in network.state_dict().values():
        tensor.add_(0.05 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


def filled(name: str, state: dict[str, Tensor]) -> backbones.Backbone:
    """Build without memory and assign, as weights of a file are."""
    with torch.device("meta"):
        made = backbones.families()["swin"].build(backbones.parse(name))
    made.load_state_dict(state, strict=True, assign=True)
    return made.eval()


@torch.inference_mode()
@pytest.mark.parametrize(
    ("theirs", "options", "name"),
    [
        (SwinTransformer, {"window_size": 4}, SMALL),
        (
            SwinTransformer,
            {"window_size": ((3, 3), (2, 2)), "img_size": 40},
            "swin_e8_d2-2_h1-2_patch4_window3-2_40",
        ),
        (
            SwinTransformerV2,
            {"window_size": 8},
            "swinv2_e8_d2-2_h1-2_patch4_window8_48",
        ),
        (
            SwinTransformerV2,
            {"window_size": 8, "pretrained_window_sizes": (5, 3)},
            "swinv2_e8_d2-2_h1-2_patch4_window8_pre5-3_48",
        ),
    ],
)
def test_every_tap_is_timms(theirs: Any, options: dict[str, Any], name: str) -> None:
    network = drawn(theirs(**{"img_size": 48, **STAGES, **options}))
    made = filled(name, network.state_dict())
    size = made.input.size
    assert size is not None
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    maps = network.forward_intermediates(images, intermediates_only=True)
    expected = {
        "stem": network.patch_embed(images).permute(0, 3, 1, 2),
        "layer1": maps[0],
        "layer2": maps[1],
        "final": network.forward_features(images).permute(0, 3, 1, 2),
    }
    taps = made.forward_taps(images, tuple(expected))
    assert made.dims == {"stem": 8, "layer1": 8, "layer2": 16, "final": 16}
    for tap, tensor in expected.items():
        assert torch.equal(taps[tap], tensor), tap


@torch.inference_mode()
def test_positions_are_added_to_the_patches() -> None:
    name = "swin_e8_d2-2_h1-2_patch4_window4_ape_48"
    plain = drawn(SwinTransformer(img_size=48, window_size=4, **STAGES))
    positions = torch.randn(1, 144, 8, generator=torch.Generator().manual_seed(4))
    made = filled(name, {**plain.state_dict(), "absolute_pos_embed": positions})
    images = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    patches = plain.patch_embed(images)
    by_hand = patches + positions.reshape(1, 12, 12, 8)
    stem = made.forward_taps(images, ("stem",))["stem"]
    assert torch.equal(stem, by_hand.permute(0, 3, 1, 2))
    last = plain.norm(plain.layers(by_hand)).permute(0, 3, 1, 2)
    assert torch.equal(made(images), last)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224"),
        ("swin_small_patch4_window7_224", "swin_small_patch4_window7_224"),
        ("swin_base_patch4_window12_384", "swin_base_patch4_window12_384"),
        ("swin_large_patch4_window7_224", "swin_large_patch4_window7_224"),
        ("swinv2_tiny_patch4_window8_256", "swinv2_tiny_window8_256"),
        ("swinv2_base_patch4_window16_256", "swinv2_base_window16_256"),
        (
            "swinv2_base_patch4_window24_pre12-12-12-6_384",
            "swinv2_base_window12to24_192to384",
        ),
    ],
)
def test_published_names_are_timms_networks(name: str, theirs: str) -> None:
    spec = backbones.parse(name)
    assert spec.name == name
    with torch.device("meta"):
        network: Any = timm.create_model(theirs, num_classes=0)
        made: Any = backbones.families()["swin"].build(spec)
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    assert {k: t.shape for k, t in made.state_dict().items()} == expected
    tables = {key: tensor.shape for key, tensor in network.named_buffers()}
    assert {key: tensor.shape for key, tensor in made.named_buffers()} == tables
    shifts = [block.shift_size for stage in network.layers for block in stage.blocks]
    ours = [block.shift_size for stage in made.layers for block in stage.blocks]
    assert ours == shifts
    scales = [
        block.attn.pretrained_window_size
        for stage in network.layers
        for block in stage.blocks
        if hasattr(block.attn, "pretrained_window_size")
    ]
    if scales:
        assert scales == [
            block.attn.pretrained_window_size
            for stage in made.layers
            for block in stage.blocks
        ]


@pytest.mark.parametrize(
    "name",
    [
        "swin_e8_d2-2_h3-2_patch4_window4_48",  # 3 heads do not divide 8 channels
        "swin_e8_d2-2_h1-2_patch4_window4_50",  # half a patch
        "swin_e8_d2-2_h1-2_patch4_window4-7_48",  # the second map has 6 patches
        "swin_e8_d2-2_h1_patch4_window4_48",  # one stage without heads
        "swin_e8_d2-0_h1-2_patch4_window4_48",
        "swin_e8_d2-2_h1-2_patch4_window4_pre4-4_48",  # a V1 has no coordinates
        "swinv2_e8_d2-2_h1-2_patch4_window4_pre4_48",
        "swin_e96_d2-2-6-2_h3-6-12-24_patch4_window7_224",  # called tiny
        "swin_tiny_patch4_window0_224",
        "swin_tiny_patch4_224",
    ],
)
def test_what_is_no_swin_has_no_name(name: str) -> None:
    assert backbones.families()["swin"].parse(name) is None


def test_a_smaller_last_window_shows_the_size_of_the_images() -> None:
    """Windows of 4 in maps of 12, 6 and 3 patches: the third fills 3 x 4 x 4 pixels."""
    network = SwinTransformer(
        img_size=48,
        window_size=4,
        embed_dim=8,
        depths=(1, 1, 1),
        num_heads=(1, 1, 1),
        num_classes=0,
    )
    found = backbones.infer(network.state_dict())
    assert found.name == "swin_e8_d1-1-1_h1-1-1_patch4_window4_48"
    assert found.options["windows"] == (4, 4, 3)


def test_images_of_another_size_are_refused_with_the_name_to_take() -> None:
    made = backbones.build(SMALL, 0)
    other = "swin_e8_d2-2_h1-2_patch4_window4_64"
    with pytest.raises(BenchError, match=f"48 x 48 pixels, .*or --arch {other}"):
        made(torch.zeros(1, 3, 64, 64))
    assert backbones.build(other, 0)(torch.zeros(1, 3, 64, 64)).shape == (1, 16, 8, 8)
    with pytest.raises(BenchError, match="these are 48 x 64; choose a transform"):
        made(torch.zeros(1, 3, 48, 64))


def test_weights_of_others_are_declined_with_a_reason() -> None:
    infer = backbones.families()["swin"].infer
    vit = backbones.skeleton(backbones.parse("vit_tiny_patch16_32"))
    assert "no patch_embed.proj.weight with layers.0.blocks.0" in infer(vit)
    state = dict(backbones.skeleton(backbones.parse(SMALL)))
    table = "layers.1.blocks.0.attn.relative_position_bias_table"
    assert "stage 1 has no attn" in infer(
        {k: v for k, v in state.items() if k != table}
    )
    stem = "patch_embed.proj.weight"
    assert "shape (8, 1, 4, 4)" in infer({**state, stem: torch.zeros(8, 1, 4, 4)})
    odd = {**state, table: torch.zeros(49, 3)}
    assert "make no Swin" in infer(odd)
