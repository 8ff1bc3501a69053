"""DINOv3: against Hugging Face's and timm's forward passes, and on odd weights."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from timm.models.eva import Eva
from torch import nn

from ssl_bench import backbones, checkpoints
from ssl_bench.errors import BenchError, CheckpointError

SMALL = "dinov3_w64_d2_patch8_reg4_h2"
SIZES = [(32, 32), (48, 48), (16, 48)]


def shaken(network: Any) -> Any:
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=draw))
    return network.eval()


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gated", [False, True])
def test_tokens_equal_hugging_faces_at_any_size(
    gated: bool, size: tuple[int, int], tmp_path: Any
) -> None:
    config: Any = transformers.DINOv3ViTConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        patch_size=8,
        num_register_tokens=4,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
    )
    theirs = shaken(transformers.DINOv3ViTModel(config))
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    ours = checkpoints.load_backbone(tmp_path / "model.pth")
    assert ours.arch == f"dinov3_w64_d2_patch8_reg4_m96{'_swiglu' if gated else ''}"
    batch = torch.randn(2, 3, *size)
    expected = theirs(batch).last_hidden_state
    torch.testing.assert_close(ours(batch), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES)
def test_blocks_equal_timms(size: tuple[int, int]) -> None:
    theirs: Any = shaken(
        Eva(
            img_size=32,
            patch_size=8,
            embed_dim=64,
            depth=2,
            num_heads=2,
            num_classes=0,
            use_rot_pos_emb=True,
            use_abs_pos_emb=False,
            rope_type="dinov3",
            rope_temperature=100,
            rope_rotate_half=True,
            dynamic_img_size=True,
            num_reg_tokens=4,
            init_values=1e-5,
            use_fc_norm=False,
            global_pool="token",
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
        )
    )
    ours = backbones.build(SMALL, 0)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    batch = torch.randn(2, 3, *size)
    taps = ours.forward_taps(batch, tuple(ours.dims))
    _, blocks = theirs.forward_intermediates(
        batch, output_fmt="NLC", return_prefix_tokens=True
    )
    for index, (patches, prefix) in enumerate(blocks, start=1):
        tokens = torch.cat([prefix, patches], dim=1)
        torch.testing.assert_close(taps[f"block{index}"], tokens, rtol=1e-5, atol=1e-5)
    expected = theirs.forward_features(batch)
    torch.testing.assert_close(taps["final"], expected, rtol=1e-5, atol=1e-5)


def test_the_rotation_is_by_hand() -> None:
    """Two patches side by side, a head 8 wide: periods 1 and 10."""
    backbone: Any = backbones.build("dinov3_w16_d1_patch8_reg1_h2", 0)
    assert backbone.rope.periods.tolist() == [1, 10]
    table = backbone.rope((1, 2))
    angles = [0.0, 0.0, -math.pi, -math.pi / 10]
    expected = [math.sin(a) for a in angles * 2] + [math.cos(a) for a in angles * 2]
    torch.testing.assert_close(table[0], torch.tensor(expected), rtol=1e-5, atol=1e-5)
    assert table.shape == (2, 16)


def with_periods() -> Any:
    spec = backbones.parse(SMALL)
    family = backbones.families()["dinov3"]
    backbone = backbones.build(family.spec(**{**spec.options, "periods": True}), 0)
    with torch.no_grad():
        backbone.rope.periods.mul_(1.01)  # type: ignore[union-attr,operator]
    return shaken(backbone)


def test_periods_of_a_file_are_part_of_the_weights() -> None:
    backbone, usual = with_periods(), backbones.build(SMALL, 0)
    state = backbone.state_dict()
    assert backbones.infer(state).options["periods"]
    assert set(state) - set(usual.state_dict()) == {"rope.periods"}
    usual.load_state_dict(
        {name: tensor for name, tensor in state.items() if name != "rope.periods"}
    )
    batch = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(backbone(batch), usual(batch), atol=1e-4)


def test_periods_stay_in_float32() -> None:
    backbone = with_periods()
    fast = backbone.for_inference(torch.bfloat16, "cpu")
    assert fast.rope.periods.dtype == torch.float32
    assert torch.equal(fast.rope.periods, backbone.rope.periods)
    assert next(fast.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("kept", [False, True])
def test_loading_computes_what_no_file_holds(kept: bool) -> None:
    """A network without memory has key biases and periods without memory too."""
    source = with_periods() if kept else backbones.build(SMALL, 0)
    spec = backbones.parse(SMALL)
    if kept:
        spec = backbones.infer(source.state_dict())
        assert spec.options["heads"] == 2
    with torch.device("meta"):
        backbone: Any = backbones.families()["dinov3"].build(spec)
    backbone.load_state_dict(source.state_dict(), assign=True)
    batch = torch.randn(1, 3, 32, 32)
    assert torch.equal(backbone.eval()(batch), source(batch))
    assert not any(buffer.is_meta for buffer in backbone.buffers())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reg_token": None}, "there are no register tokens"),
        ({"cls_token": None}, "there are no class token and blocks"),
        ({"pos_embed": torch.empty(1, 5, 64)}, "there is a pos_embed"),
        ({"rope.periods": torch.empty(5)}, "5 periods do not divide the width of 64"),
        ({"patch_embed.proj.weight": torch.empty(64, 4, 8, 8)}, "on colour images"),
        ({"patch_embed.proj.weight": None}, r"there is no patch_embed\.proj\.weight"),
    ],
)
def test_odd_weights_are_told(change: dict[str, Any], reason: str) -> None:
    state = {**backbones.skeleton(backbones.parse(SMALL)), **change}
    there = {name: tensor for name, tensor in state.items() if tensor is not None}
    assert re.search(reason, backbones.families()["dinov3"].infer(there))
    with pytest.raises(CheckpointError):
        backbones.infer(there)


@pytest.mark.parametrize(
    ("width", "depth", "heads", "name"),
    [
        (384, 12, 6, "small"),
        (768, 12, 12, "base"),
        (1024, 24, 16, "large"),
        (1280, 32, 20, "huge"),
        (4096, 40, 32, "7b"),
    ],
)
def test_published_sizes_have_their_heads(
    width: int, depth: int, heads: int, name: str
) -> None:
    options = backbones.parse(f"dinov3_{name}_patch16_reg4").options
    assert (options["width"], options["depth"]) == (width, depth)
    assert options["heads"] == heads


@pytest.mark.parametrize(
    "name",
    ["dinov3_small", "dinov3_w64_d2_patch8_reg4_h5", "dinov3_w24_d1_patch8_reg1_h4"],
)
def test_names_of_no_network_are_none(name: str) -> None:
    assert backbones.families()["dinov3"].parse(name) is None


def test_images_that_do_not_divide_are_refused() -> None:
    with pytest.raises(BenchError, match=r"patches of 8 x 8 .* these are 30 x 32"):
        backbones.build(SMALL, 0)(torch.zeros(1, 3, 30, 32))
