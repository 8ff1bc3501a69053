"""Vision transformers: against timm's own forward pass, and on odd weights."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_bench import backbones, pooling
from ssl_bench.errors import BenchError, CheckpointError

SMALL = "vit_w64_d2_patch16_32"
THEIRS = {"img_size": 48, "embed_dim": 64, "depth": 2, "num_heads": 1}


def drawn(network: torch.nn.Module) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(2)
    for tensor in network.state_dict().values():
        tensor.add_(0.05 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


@pytest.mark.parametrize(
    ("options", "middle", "pooled"),
    [
        ({}, "", "class_token"),
        ({"init_values": 0.1}, "", "class_token"),
        ({"reg_tokens": 4, "no_embed_class": True}, "_reg4", "class_token"),
        ({"reg_tokens": 4}, "_reg4", "class_token"),
        ({"no_embed_class": True, "init_values": 0.1}, "", "class_token"),
        (
            {"class_token": False, "global_pool": "avg", "fc_norm": False},
            "_gap",
            "patch_mean",
        ),
        (
            {
                "class_token": False,
                "reg_tokens": 4,
                "no_embed_class": True,
                "global_pool": "avg",
            },
            "_reg4_gap_fcnorm",
            "patch_mean",
        ),
        ({"global_pool": "avg"}, "_fcnorm", "patch_mean"),
        ({"pre_norm": True}, "_prenorm", "class_token"),
        ({"final_norm": False}, "_nonorm", "class_token"),
        ({"qk_norm": True, "qkv_bias": False}, "_qknorm_nobias", "class_token"),
        (
            {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 4},
            "_m128_swiglu",
            "class_token",
        ),
    ],
)
def test_tokens_equal_timms(options: dict[str, Any], middle: str, pooled: str) -> None:
    theirs: Any = drawn(VisionTransformer(**THEIRS, num_classes=0, **options))
    state = dict(theirs.state_dict())
    spec = backbones.infer(state)
    assert spec.name == f"vit_w64_d2_patch16{middle}_48"
    ours = backbones.build(spec, 0)
    ours.load_state_dict(state, strict=True)
    assert ours.tap_pooling == pooled
    assert ours.num_prefix_tokens == theirs.num_prefix_tokens
    batch = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(batch), pre_logits=True)
        _, blocks = theirs.forward_intermediates(
            batch, output_fmt="NLC", return_prefix_tokens=True
        )
        taps = ours.forward_taps(batch, tuple(ours.dims))
    final = pooling.pool(taps["final"], pooled, ours)
    torch.testing.assert_close(final, expected, rtol=1e-5, atol=1e-5)
    for index, block in enumerate(blocks, start=1):
        patches, prefix = block if isinstance(block, tuple) else (block, None)
        tokens = patches if prefix is None else torch.cat([prefix, patches], 1)
        torch.testing.assert_close(taps[f"block{index}"], tokens, rtol=1e-5, atol=1e-5)


def test_a_normed_mean_stands_behind_the_normed_prefix_tokens() -> None:
    backbone = backbones.build("vit_w64_d2_patch8_reg2_fcnorm_32", 0)
    batch = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        taps = backbone.forward_taps(batch, ("block2", "final"))
        norm: Any = backbone.fc_norm
        expected = norm(taps["block2"][:, 3:].mean(1))
        token = norm(taps["block2"][:, 0])
    assert taps["final"].shape == (2, 4, 64)
    torch.testing.assert_close(taps["final"][:, 3], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(taps["final"][:, 0], token, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("act", "quick_gelu"), ("eps", 1e-3)])
def test_hidden_options_move_the_feature_and_the_name(option: str, value: Any) -> None:
    usual = backbones.build(SMALL, 0)
    family = backbones.families()["vit"]
    spec = family.spec(**{**backbones.parse(SMALL).options, option: value})
    other = backbones.build(spec, 0)
    other.load_state_dict(usual.state_dict())
    assert backbones.parse(spec.name) == spec
    assert spec.name != SMALL
    assert other.fingerprint != usual.fingerprint
    batch = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(other(batch), usual(batch), atol=1e-4)


@pytest.mark.parametrize("size", [(50, 32), (32, 40), (0, 32)])
def test_images_that_do_not_divide_are_refused_with_what_to_type(
    size: tuple[int, int],
) -> None:
    backbone = backbones.build(SMALL, 0)
    with pytest.raises(
        BenchError, match=r"patches of 16 x 16 .*these are \d+ x \d+; .*transform="
    ):
        backbone(torch.zeros(1, 3, *size))


def test_a_grid_that_is_no_square_can_be_named() -> None:
    backbone = backbones.build("vit_w64_d2_patch8_32x48", 0)
    assert backbone.pos_embed.shape == (1, 1 + 4 * 6, 64)  # type: ignore[union-attr]
    assert backbone.input.size is None
    assert backbone(torch.zeros(1, 3, 32, 48)).shape == (1, 25, 64)


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
    "name",
    [
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_base_patch16_224",
        "vit_large_patch14_224",
        "vit_huge_patch14_224",
        "vit_giant_patch14_224",
        "vit_gigantic_patch14_224",
        "vit_so400m_patch14_siglip_224",
        "vit_giant_patch14_dinov2",
    ],
)
def test_sizes_are_timms(name: str) -> None:
    with torch.device("meta"):
        theirs: Any = timm.create_model(name, num_classes=0, weight_init="skip")
    state = {k: v for k, v in theirs.state_dict().items() if "attn_pool" not in k}
    spec = backbones.infer(state)
    assert spec.options["heads"] == theirs.blocks[0].attn.num_heads
    assert "_h" not in spec.name.replace("_huge", "")
    assert "_m" not in spec.name
    assert {k: v.shape for k, v in backbones.skeleton(spec).items()} == {
        k: v.shape for k, v in state.items()
    }


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("vit_base_patch14_518", {"width": 768, "patch": 14, "size": 518}),
        ("vit_large_patch16_384", {"width": 1024, "depth": 24, "size": 384}),
        ("vit_small_patch8_96", {"width": 384, "heads": 6, "patch": 8}),
        ("vit_small768_patch16_224", {"depth": 8, "heads": 8, "hidden": 2304}),
        ("vit_w96_d3_patch8_m200_64", {"width": 96, "heads": 1, "hidden": 200}),
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
        ({"patch_embed.proj.weight": (64, 3, 16, 8)}, "a ViT's is"),
        ({"patch_embed.proj.weight": (64, 1, 16, 16)}, "on colour images"),
        ({"pos_embed": (1, 8, 64)}, "neither with nor without 1 prefix"),
        ({"pos_embed": (5, 64)}, "neither with nor without"),
        ({"reg_token": (1, 3, 64), "cls_token": ()}, "neither cls_token nor fc_norm"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    state: dict[str, Tensor] = backbones.skeleton(backbones.parse(SMALL))
    state |= {name: torch.empty(shape) for name, shape in change.items()}
    if "reg_token" in state:
        del state["cls_token"]
        state["pos_embed"] = torch.empty(1, 4, 64)
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)


def test_blocks_of_another_family_are_told() -> None:
    state = {**backbones.skeleton(backbones.parse(SMALL))}
    state["blocks.1.attn.q_bias"] = torch.empty(64)
    reason = backbones.families()["vit"].infer(state)
    assert reason == "its blocks have attn.q_bias, as those of another family do"


def test_a_tensor_that_one_block_lacks_does_not_change_the_architecture() -> None:
    whole = backbones.skeleton(backbones.parse("vit_w64_d3_patch16_qknorm_32"))
    expected = backbones.infer(whole)
    for name in whole:
        if name.startswith("blocks.1."):
            rest = {key: tensor for key, tensor in whole.items() if key != name}
            assert backbones.infer(rest) == expected


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 5}, "width 64 do not divide into 5 heads"),
        ({"eps": 3e-6}, "power of ten"),
        ({"act": "tanh"}, "act is one of gelu, quick_gelu, gelu_tanh"),
        ({"pooling": "average"}, "pooling is class_token or patch_mean"),
        ({"class_token": False}, "there is no class token"),
    ],
)
def test_options_of_no_network_are_refused(
    change: dict[str, Any], sentence: str
) -> None:
    options = {**backbones.parse(SMALL).options, **change}
    with pytest.raises(BenchError, match=sentence):
        backbones.families()["vit"].spec(**options)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch0_32", "vit_w64_d0_patch8_32", "vit_w64_d2_patch8_h5_32"]
)
def test_names_of_no_network_are_none(name: str) -> None:
    assert backbones.families()["vit"].parse(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_pe_spatial_tiny_patch16_512", "Perception Encoders"),
        ("vit_base_patch16_rpn_224", "norms stand after each branch"),
    ],
)
def test_refuses_what_looks_like_a_plain_one(name: str, reason: str) -> None:
    """Rotary positions and the place of norms show in no tensor."""
    theirs = timm.create_model(
        name, img_size=32, embed_dim=64, depth=2, num_heads=1, num_classes=0
    )
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(theirs.state_dict())
