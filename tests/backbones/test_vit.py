"""Vision transformers: against timm's own forward pass, and on odd weights."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from ssl_bench import backbones
from ssl_bench.errors import BenchError, CheckpointError

SMALL = "vit_tiny_patch16_32"


def drawn(network: torch.nn.Module) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(2)
    for tensor in network.state_dict().values():
        tensor.add_(0.05 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


@pytest.mark.parametrize(
    ("options", "arch", "pooling"),
    [
        ({}, "vit_tiny_patch16_48", "class_token"),
        ({"init_values": 0.1}, "vit_tiny_patch16_48", "class_token"),
        (
            {"reg_tokens": 4, "no_embed_class": True},
            "vit_tiny_patch16_reg4_48",
            "class_token",
        ),
        ({"reg_tokens": 4}, "vit_tiny_patch16_reg4_48", "class_token"),
        (
            {"class_token": False, "global_pool": "avg", "fc_norm": False},
            "vit_tiny_patch16_gap_48",
            "patch_mean",
        ),
    ],
)
def test_tokens_equal_timms(options: dict[str, Any], arch: str, pooling: str) -> None:
    theirs = drawn(
        timm.create_model("vit_tiny_patch16_224", img_size=48, num_classes=0, **options)
    )
    state = dict(theirs.state_dict())
    spec = backbones.infer(state)
    assert spec.name == arch
    ours = backbones.build(spec, 0)
    ours.load_state_dict(state, strict=True)
    assert ours.tap_pooling == pooling
    assert ours.num_prefix_tokens == theirs.num_prefix_tokens
    batch = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        expected = theirs.forward_features(batch)  # type: ignore[operator]
        _, blocks = theirs.forward_intermediates(  # type: ignore[operator]
            batch, output_fmt="NLC", return_prefix_tokens=True
        )
        taps = ours.forward_taps(batch, tuple(ours.dims))
    torch.testing.assert_close(taps["final"], expected, rtol=1e-5, atol=1e-5)
    for index, block in enumerate(blocks, start=1):
        patches, prefix = block if isinstance(block, tuple) else (block, None)
        tokens = patches if prefix is None else torch.cat([prefix, patches], 1)
        torch.testing.assert_close(taps[f"block{index}"], tokens, rtol=1e-5, atol=1e-5)


def test_images_of_another_size_are_refused_with_what_to_type() -> None:
    backbone = backbones.build(SMALL, 0)
    with pytest.raises(
        BenchError, match=r"32 x 32 pixels, these are 48 x 32.*transform="
    ):
        backbone(torch.zeros(1, 3, 48, 32))


def test_heads_are_64_wide_unless_the_name_says_otherwise() -> None:
    usual = backbones.build("vit_tiny_patch16_32", 0)
    mocov3 = backbones.build("vit_tiny_patch16_h6_32", 0)
    assert usual.blocks[0].attn.num_heads == 3  # type: ignore[index,union-attr]
    assert mocov3.blocks[0].attn.num_heads == 6  # type: ignore[index,union-attr]
    same = {n: t.shape for n, t in usual.state_dict().items()}
    assert same == {n: t.shape for n, t in mocov3.state_dict().items()}
    mocov3.load_state_dict(usual.state_dict())
    assert mocov3.fingerprint != usual.fingerprint
    batch = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(mocov3(batch), usual(batch), atol=1e-3)


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("vit_base_patch14_518", {"width": 768, "patch": 14, "size": 518}),
        ("vit_large_patch16_384", {"width": 1024, "depth": 24, "size": 384}),
        ("vit_small_patch8_96", {"width": 384, "heads": 6, "patch": 8}),
    ],
)
def test_patch_and_size_are_told_from_the_shapes(
    arch: str, options: dict[str, int]
) -> None:
    spec = backbones.infer(backbones.skeleton(backbones.parse(arch)))
    assert spec.name == arch
    assert options.items() <= spec.options.items()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patch_embed.proj.weight": (192, 3, 16, 8)}, "a ViT's is"),
        ({"patch_embed.proj.weight": (192, 1, 16, 16)}, "on colour images"),
        ({"patch_embed.proj.weight": (200, 3, 16, 16)}, "width 200 with 12 blocks"),
        ({"blocks.12.norm1.weight": (192,)}, "width 192 with 13 blocks"),
        ({"pos_embed": (1, 8, 192)}, "neither with nor without 1 prefix"),
        ({"pos_embed": (5, 192)}, "neither with nor without"),
        ({"blocks.0.mlp.fc1.weight": (576, 192)}, r"expected \(768, 192\)"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state: dict[str, Tensor] = backbones.skeleton(backbones.parse(SMALL))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)


def test_openmmlabs_small_is_no_small_of_ours() -> None:
    """Its 'small' is 768 wide with 8 blocks of 8 heads: refused, not guessed."""
    state = backbones.skeleton(backbones.parse("vit_base_patch16_32"))
    surplus = tuple(f"blocks.{index}." for index in range(8, 12))
    state = {n: t for n, t in state.items() if not n.startswith(surplus)}
    with pytest.raises(CheckpointError, match="width 768 with 8 blocks"):
        backbones.infer(state)
