"""Weights of a network of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ssl_bench import checkpoints
from ssl_bench.errors import CheckpointError
from ssl_bench.registry import MODELS

CONFIG = {"type": "OwnOfTheTest", "width": 3}


class Own(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.dims = {"final": width}

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return {"final": self.conv(images)}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    MODELS.register_module(name="OwnOfTheTest", module=Own)
    yield
    MODELS.module_dict.pop("OwnOfTheTest")


@pytest.mark.parametrize("prefix", [None, "net."])
def test_the_file_holds_them_in_their_own_names(
    tmp_path: Path, prefix: str | None
) -> None:
    donor = Own(3)
    state = {f"{prefix or ''}{key}": t for key, t in donor.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "own.pth")
    made = checkpoints.load_backbone(tmp_path / "own.pth", custom=CONFIG, prefix=prefix)
    batch = torch.ones(1, 3, 4, 4)
    assert torch.equal(made(batch), donor.conv(batch))
    assert made.weights is not None
    assert made.weights.layout == "custom"
    assert made.weights.source == "own.pth"
    assert made.weights.coverage.matched == 2


def test_random_ones_depend_on_the_seed_alone() -> None:
    one, two, other = (
        checkpoints.load_backbone("none", custom=CONFIG, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_they_are_loaded_strictly(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(3, 3, 3, 3)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"do not fill OwnOfTheTest.*conv\.bias"):
        checkpoints.load_backbone(tmp_path / "a.pth", custom=CONFIG)
    with pytest.raises(CheckpointError, match="holds no ema encoder"):
        checkpoints.load_backbone(tmp_path / "a.pth", custom=CONFIG, encoder="ema")
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        checkpoints.load_backbone(tmp_path / "b.pth", custom=CONFIG)
