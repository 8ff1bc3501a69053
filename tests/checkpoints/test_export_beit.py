"""BEiT in the classes of timm and OpenMMLab."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_bench.backbones import BackboneWeights
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

SIZE = 32
BOTH = [
    "beit_w64_d2_patch8_32",
    "beit_w64_d2_patch8_sharedrel_32",
    "beit_w64_d2_patch8_abs_32",
    "beit_w64_d2_patch8_fcnorm_32",
]


def feature(weights: BackboneWeights) -> torch.Tensor:
    """Return the feature of our own network: the first token, or the others' mean."""
    tokens_BTD = ours(weights, SIZE)
    is_first = weights.spec.options["pooling"] == "class_token"
    return tokens_BTD[:, 0] if is_first else tokens_BTD[:, 1:].mean(1)


@pytest.mark.parametrize("arch", BOTH)
def test_timm_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "timm")
    network = theirs(plan.build, plan.options)
    network.load_state_dict(written(weights, tmp_path, "timm"), strict=True)
    with torch.inference_mode():
        feats_BD = network(images(SIZE))
    torch.testing.assert_close(feats_BD, feature(weights), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arch", [*BOTH, "beit_w64_d2_patch8_abs_nonerel_32"])
def test_mmpretrain_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "mm")
    network = theirs(plan.build, plan.options)
    missing, unexpected = network.load_state_dict(
        written(weights, tmp_path, "mm"), strict=False
    )
    # What it computes for itself is not in the file, and its own loader does not ask.
    assert unexpected == []
    assert {name.rpartition(".")[2] for name in missing} <= {"relative_position_index"}
    with torch.inference_mode():
        (found,) = network(images(SIZE))
    feats_BD = found if found.ndim == 2 else found.mean((2, 3))
    torch.testing.assert_close(feats_BD, feature(weights), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arch", BOTH)
def test_files_are_read_again(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    for target in ("mm", "timm"):
        assert_same_when_read_again(weights, tmp_path, target, ".pth")


def test_what_timm_cannot_hold_is_refused(tmp_path: Path) -> None:
    weights = weights_of("beit_w64_d2_patch8_abs_nonerel_32", tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot hold .*pass --to mm"):
        export.plan_for(weights, "timm")
