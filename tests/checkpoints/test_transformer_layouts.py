"""What only the layouts of transformers decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_bench import backbones, checkpoints
from ssl_bench.checkpoints.name_table import fold_class_position, spelled
from ssl_bench.errors import CheckpointError
from tests.producers.keys import keyed

Save = Callable[[Any], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(tree: Any) -> Path:
        torch.save(tree, tmp_path / "model.pth")
        return tmp_path / "model.pth"

    return write


def dinov3() -> dict[str, Tensor]:
    state = keyed("dinov3_official", 901, narrow=1)
    for key, tensor in state.items():
        if key.endswith("qkv.bias"):
            tensor[128:256] = 0
    return state


def test_dinov3s_biases_are_split_and_its_periods_kept(save: Save) -> None:
    state = dinov3()
    found = checkpoints.load(save(state)).state_dict
    whole = state["blocks.1.attn.qkv.bias"]
    assert torch.equal(found["blocks.1.attn.q_bias"], whole[:128])
    assert torch.equal(found["blocks.1.attn.v_bias"], whole[256:])
    assert torch.equal(found["rope.periods"], state["rope_embed.periods"])


def test_a_bias_of_dinov3s_key_is_not_dropped_in_silence(save: Save) -> None:
    state = dinov3()
    state["blocks.1.attn.qkv.bias"][130] = 0.5
    with pytest.raises(CheckpointError, match=r"blocks\.1\.attn\.qkv\.bias"):
        checkpoints.load(save(state))


def test_a_beit_without_its_table_is_no_dinov3(save: Save) -> None:
    state = keyed("beit_official_pretrained", 902, narrow=1)
    gone = {k: v for k, v in state.items() if not k.startswith("rel_pos_bias.")}
    with pytest.raises(CheckpointError, match="cannot be told"):
        checkpoints.load(save(gone))


def test_a_dinov2_with_registers_but_no_positions_is_no_dinov3(save: Save) -> None:
    state = keyed("dinov2_official_giant", 903, narrow=1)
    del state["pos_embed"]
    with pytest.raises(CheckpointError):
        checkpoints.load(save(state))


def test_the_class_tokens_position_goes_into_it() -> None:
    token, positions = torch.full((1, 1, 2), 3.0), torch.arange(6.0).reshape(1, 3, 2)
    given = {"cls_token": token, "pos_embed": positions, "reg_token": token}
    found = fold_class_position(given)
    assert found["cls_token"].tolist() == [[[3.0, 4.0]]]
    assert found["pos_embed"].tolist() == [[[2.0, 3.0], [4.0, 5.0]]]
    assert fold_class_position({"cls_token": token, "pos_embed": positions}) == {
        "cls_token": token,
        "pos_embed": positions,
    }


def test_half_precision_is_folded_in_float32() -> None:
    token = torch.full((1, 1, 2), 1.0).half()
    positions = torch.full((1, 2, 2), 2.0**-12).half()
    given = {"cls_token": token, "pos_embed": positions, "reg_token": token}
    assert fold_class_position(given)["cls_token"].unique().item() == 1 + 2.0**-12


def test_tables_are_written_out() -> None:
    table = spelled({"a.{}": "b.{}#1", "c": "d"}, {"e": "f"})
    assert table == {
        "a.weight": "b.weight#1",
        "a.bias": "b.bias#1",
        "c": "d",
        "e": "f",
    }


def clip_file(**more: Tensor) -> dict[str, Tensor]:
    """Compose OpenAI's names around a tower of one block, 64 wide."""
    shapes = {
        "class_embedding": (64,),
        "positional_embedding": (5, 64),
        "proj": (64, 32),
        "conv1.weight": (64, 3, 8, 8),
        "transformer.resblocks.0.attn.in_proj_weight": (192, 64),
        "transformer.resblocks.0.attn.in_proj_bias": (192,),
        "transformer.resblocks.0.attn.out_proj.weight": (64, 64),
        "transformer.resblocks.0.attn.out_proj.bias": (64,),
        "transformer.resblocks.0.mlp.c_fc.weight": (256, 64),
        "transformer.resblocks.0.mlp.c_fc.bias": (256,),
        "transformer.resblocks.0.mlp.c_proj.weight": (64, 256),
        "transformer.resblocks.0.mlp.c_proj.bias": (64,),
    }
    norms = ("ln_pre", "ln_post", "transformer.resblocks.0.ln_1")
    for norm in (*norms, "transformer.resblocks.0.ln_2"):
        shapes |= {f"{norm}.weight": (64,), f"{norm}.bias": (64,)}
    state = {f"visual.{name}": torch.randn(shape) for name, shape in shapes.items()}
    return {**state, "logit_scale": torch.ones(()), **more}


@pytest.mark.parametrize(
    ("more", "producer", "act", "arch"),
    [
        ({}, None, "gelu", "vit_w64_d1_patch8_prenorm_eps5_16"),
        ({}, "openai", "quick_gelu", "vit_w64_d1_patch8_prenorm_quickgelu_eps5_16"),
        (
            {"vocab_size": torch.tensor(9)},
            None,
            "quick_gelu",
            "vit_w64_d1_patch8_prenorm_quickgelu_eps5_16",
        ),
        (
            {"vocab_size": torch.tensor(9)},
            "openclip",
            "gelu",
            "vit_w64_d1_patch8_prenorm_eps5_16",
        ),
    ],
)
def test_clips_activation_is_its_producers(
    more: dict[str, Tensor], producer: str | None, act: str, arch: str, save: Save
) -> None:
    found = checkpoints.load(save(clip_file(**more)), producer=producer)
    assert found.spec.options["act"] == act
    assert found.arch == arch
    assert found.spec.options["eps"] == pytest.approx(1e-5)
    assert found.input.mean == (0.48145466, 0.4578275, 0.40821073)
    assert backbones.parse(arch).options["act"] == act
