"""A small network's tensors, and a way to write and load a file in one step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_bench import backbones, checkpoints
from ssl_bench.backbones import BackboneWeights

LoadTree = Callable[..., BackboneWeights]


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    """The state dict of a ResNet-18 of width 4, without a head."""
    return dict(backbones.build("resnet18-w4", 1).state_dict())


@pytest.fixture
def load_tree(tmp_path: Path) -> LoadTree:
    """Save a tree as torch does, and load it."""

    def load(tree: Any, **options: Any) -> BackboneWeights:
        path = tmp_path / "model.pth"
        torch.save(tree, path)
        return checkpoints.load(path, **options)

    return load
