"""Swin transformers of either version in the classes of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_bench.checkpoints import export
from ssl_bench.errors import CheckpointError
from tests.checkpoints.exports import (
    assert_same_when_read_again,
    images,
    ours,
    theirs,
    weights_of,
    written,
)

V1 = "swin_e8_d2-2-1-1_h2-2-4-4_patch4_window2_64"
V2 = "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window2_64"
V2_MIXED = "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window4_64"
V2_SCALED = "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window2_pre4-4-4-2_64"
COMPUTED = ("relative_position_index", "relative_coords_table", "attn_mask")


@pytest.mark.parametrize("arch", [V1, V2, f"{V1[:-3]}_eps6_64"])
def test_torchvision_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "torchvision")
    network = theirs(plan.build, plan.options)
    network.head = torch.nn.Identity()
    state = written(weights, tmp_path, "torchvision")
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(state[name], buffer, rtol=1e-6, atol=1e-6)
    network.load_state_dict(state, strict=True)
    with torch.inference_mode():
        feats_BD = network(images())
    torch.testing.assert_close(
        feats_BD, ours(weights).mean((2, 3)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("arch", [V1, V2, V2_MIXED, V2_SCALED])
def test_timm_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "timm")
    network = theirs(plan.build, plan.options)
    network.load_state_dict(written(weights, tmp_path, "timm"), strict=True)
    with torch.inference_mode():
        feats_BD = network(images())
    torch.testing.assert_close(
        feats_BD, ours(weights).mean((2, 3)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "arch",
    [V1, f"{V1[:-3]}_ape_64", V2, V2_MIXED, V2_SCALED, f"{V2[:-3]}_ape_64"],
)
def test_mmpretrain_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "mm")
    network = theirs(plan.build, plan.options)
    missing, unexpected = network.load_state_dict(
        written(weights, tmp_path, "mm"), strict=False
    )
    # What it computes for itself is not in the file; a V2 throws it away at loading.
    assert unexpected == []
    assert {name.rpartition(".")[2] for name in missing} <= set(COMPUTED)
    with torch.inference_mode():
        (map_BCHW,) = network(images())
    torch.testing.assert_close(map_BCHW, ours(weights), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "target"),
    [
        (V1, "mm"),
        (V1, "torchvision"),
        (V2, "mm"),
        (V2, "torchvision"),
        (V2_SCALED, "mm"),
        (V2_MIXED, "timm"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_are_read_again(
    arch: str, target: str, suffix: str, tmp_path: Path
) -> None:
    weights = weights_of(arch, tmp_path)
    assert_same_when_read_again(weights, tmp_path, target, suffix)


@pytest.mark.parametrize(
    ("arch", "target", "said", "able"),
    [
        (V2_MIXED, "torchvision", "one window for all stages", "--to mm or --to timm"),
        (V2_SCALED, "torchvision", "scaled by", "--to mm or --to timm"),
        (f"{V1[:-3]}_ape_64", "timm", "absolute", "--to mm"),
        (f"{V1[:-3]}_eps6_64", "mm", "eps of 1e-05", "--to timm"),
    ],
)
def test_what_cannot_be_held_is_refused_with_what_can(
    arch: str, target: str, said: str, able: str, tmp_path: Path
) -> None:
    weights = weights_of(arch, tmp_path)
    with pytest.raises(CheckpointError, match="cannot hold") as caught:
        export.plan_for(weights, target)
    assert said in str(caught.value)
    assert able in str(caught.value)
