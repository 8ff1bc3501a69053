"""BEiT: against timm's own forward pass, at other sizes, and on odd weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.beit import Beit
from torch import Tensor, nn

from ssl_bench import backbones, pooling
from ssl_bench.errors import BenchError, CheckpointError

SMALL = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 0,
}
TABLE = "relative_position_bias_table"


def shaken(network: Any) -> Any:
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


@pytest.mark.parametrize(
    ("options", "arch"),
    [
        (
            {"use_abs_pos_emb": False, "use_rel_pos_bias": True, "init_values": 0.1},
            "beit_w64_d2_patch8_h2_fcnorm_32",
        ),
        (
            {
                "use_abs_pos_emb": False,
                "use_shared_rel_pos_bias": True,
                "global_pool": "token",
                "init_values": 0.1,
                "mlp_ratio": 2.5,
            },
            "beit_w64_d2_patch8_h2_m160_sharedrel_32",
        ),
        (
            {"use_rel_pos_bias": True, "qkv_bias": False, "global_pool": "token"},
            "beit_w64_d2_patch8_h2_abs_noscale_nobias_32",
        ),
    ],
)
@torch.inference_mode()
def test_features_equal_timms(options: dict[str, Any], arch: str) -> None:
    theirs = shaken(Beit(**SMALL, **options))
    state = dict(theirs.state_dict())
    spec = backbones.infer(state)
    assert spec.name == arch
    assert backbones.parse(arch) == spec
    ours = backbones.build(spec, 0)
    ours.load_state_dict(state, strict=True)
    batch = torch.randn(2, 3, 32, 32)
    expected = theirs.forward_head(theirs.forward_features(batch), pre_logits=True)
    final = pooling.pool(ours(batch), ours.tap_pooling, ours)
    torch.testing.assert_close(final, expected, rtol=1e-5, atol=1e-5)


def stretched(table: Tensor) -> Tensor:
    """Resample a table for 4 x 4 patches to one for 6 x 6, head by head."""
    heads = [
        nn.functional.interpolate(
            head.reshape(1, 1, 7, 7), size=(11, 11), mode="bicubic"
        ).flatten()
        for head in table[:49].T
    ]
    return torch.cat([torch.stack(heads, dim=1), table[49:]])


@pytest.mark.parametrize("shared", [False, True])
@torch.inference_mode()
def test_another_size_is_a_network_with_resampled_tables(shared: bool) -> None:
    kind = "_sharedrel" if shared else ""
    small = shaken(backbones.build(f"beit_w64_d2_patch8_h2{kind}_32", 0))
    large = backbones.build(f"beit_w64_d2_patch8_h2{kind}_48", 0)
    state = small.state_dict()
    for name in state:
        if name.endswith(TABLE):
            state[name] = stretched(state[name])
    large.load_state_dict(state)
    batch = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(small(batch), large(batch), rtol=1e-5, atol=1e-5)
    assert small(batch[:, :, :16]).shape == (2, 1 + 2 * 6, 64)


@torch.inference_mode()
def test_positions_matter_between_patches_and_to_the_class_token() -> None:
    """A row of the table moves those pairs that it stands for, and no others."""
    backbone: Any = shaken(backbones.build("beit_w64_d2_patch8_h2_32", 0))
    _, given = backbone.embed(torch.zeros(1, 3, 32, 32), (4, 4))
    index = given["shared_rel_pos_bias"].index_TT
    assert index[0, 0] == 51
    assert set(index[0, 1:].tolist()) == {49}
    assert set(index[1:, 0].tolist()) == {50}
    for one in range(16):
        for other in range(16):
            down, across = one // 4 - other // 4, one % 4 - other % 4
            assert index[1 + one, 1 + other] == (down + 3) * 7 + across + 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({f"blocks.0.attn.{TABLE}": (50, 2)}, "shows a square grid"),
        ({f"blocks.0.attn.{TABLE}": (52,)}, "shows a square grid"),
        ({f"blocks.0.attn.{TABLE}": (52, 3)}, "does not divide into the 3 heads"),
        ({"reg_token": (1, 4, 64)}, "a class token and no registers"),
        ({"patch_embed.proj.weight": (64, 1, 8, 8)}, "on colour images"),
    ],
)
def test_odd_shapes_are_told(change: dict[str, tuple[int, ...]], reason: str) -> None:
    whole = backbones.skeleton(backbones.parse("beit_w64_d2_patch8_h2_32"))
    state = {**whole, **{name: torch.empty(shape) for name, shape in change.items()}}
    with pytest.raises(CheckpointError, match=reason):
        backbones.infer(state)


def test_without_any_positions_it_is_refused() -> None:
    whole = backbones.skeleton(backbones.parse("beit_w64_d2_patch8_h2_sharedrel_32"))
    state = {name: tensor for name, tensor in whole.items() if TABLE not in name}
    with pytest.raises(CheckpointError, match="not beit: neither a table"):
        backbones.infer(state)


@pytest.mark.parametrize(
    "name", ["beit_base_patch16_225", "beit_w64_d2_patch8_nonerel_32", "beit_tiny"]
)
def test_names_of_no_network_are_none(name: str) -> None:
    assert backbones.families()["beit"].parse(name) is None


def test_heads_have_to_divide_the_width() -> None:
    options = {**backbones.parse("beit_w64_d2_patch8_32").options, "heads": 5}
    with pytest.raises(BenchError, match="do not divide into 5 heads"):
        backbones.families()["beit"].spec(**options)
