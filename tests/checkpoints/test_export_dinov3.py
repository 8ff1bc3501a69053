"""DINOv3's transformer in timm's class."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_bench import checkpoints
from ssl_bench.checkpoints import export
from ssl_bench.errors import CheckpointError
from tests.checkpoints.exports import images, ours, theirs, weights_of, written
from tests.producers import load_all
from tests.producers.example import EXAMPLES

SIZE = 32


@pytest.mark.parametrize(
    "arch",
    [
        "dinov3_w64_d2_patch8_reg4",
        "dinov3_w64_d2_patch8_reg2_h2_m96_swiglu_nobias",
        "dinov3_w64_d2_patch8_reg4_theta50_eps6",
        "dinov3_w64_d2_patch8_reg4_avg",
    ],
)
def test_timm_computes_the_same(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    plan = export.plan_for(weights, "timm")
    network = theirs(plan.build, plan.options)
    network.load_state_dict(written(weights, tmp_path, "timm"), strict=True)
    tokens_BTD = ours(weights, SIZE)
    prefix = 1 + weights.spec.options["registers"]
    expected = tokens_BTD[:, prefix:].mean(1) if "_avg" in arch else tokens_BTD[:, 0]
    with torch.inference_mode():
        feats_BD = network(images(SIZE))
    torch.testing.assert_close(feats_BD, expected, rtol=1e-5, atol=1e-5)


def test_periods_of_its_own_are_refused(tmp_path: Path) -> None:
    load_all()
    torch.save(EXAMPLES["dinov3_hub"]().tree, tmp_path / "a.pth")
    weights = checkpoints.load(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="computes the periods"):
        export.plan_for(weights, "timm")
