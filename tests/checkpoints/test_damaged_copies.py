"""A damaged copy of an unknown producer does not give way to a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_bench import checkpoints
from ssl_bench.errors import CheckpointError
from tests.producers.example import mlp, trunk, under
from tests.producers.small import resnet, timm_vit


def written(folder: Path, tree: dict[str, Tensor]) -> Path:
    path = folder / "file.pth"
    torch.save(tree, path)
    return path


def state(kind: str, seed: int) -> dict[str, Tensor]:
    network = resnet(seed) if kind == "resnet" else timm_vit(seed)
    heads = ("fc.", "head.")
    return {k: t for k, t in network.state_dict().items() if not k.startswith(heads)}


def third(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave too little to be known as a network."""
    return {key: tensors[key] for key in list(tensors)[2::3]}


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize(
    ("first", "second"), [("online.", "target."), ("net1.", "net2.")]
)
def test_refuses_what_is_left_of_a_copy(
    tmp_path: Path, kind: str, first: str, second: str
) -> None:
    tree = under(first, third(state(kind, 4))) | under(second, state(kind, 5))
    with pytest.raises(CheckpointError, match="--prefix"):
        checkpoints.load(written(tmp_path, tree))


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_refuses_any_tensor_that_a_copy_lacks(tmp_path: Path, kind: str) -> None:
    whole, other = state(kind, 4), state(kind, 5)
    needed = [key for key in whole if not key.endswith("num_batches_tracked")]
    for key in needed[::7]:
        rest = {name: tensor for name, tensor in whole.items() if name != key}
        tree = under("online.", rest) | under("target.", other)
        with pytest.raises(CheckpointError):
            checkpoints.load(written(tmp_path, tree))


def test_takes_a_whole_copy_beside_a_damaged_average(tmp_path: Path) -> None:
    """The average is not what is asked for."""
    whole = state("resnet", 4)
    tree = under("online.", whole) | under("target.", third(state("resnet", 5)))
    weights = checkpoints.load(written(tmp_path, tree))
    assert weights.encoder == "online"
    assert torch.equal(weights.state_dict["conv1.weight"], whole["conv1.weight"])


def test_a_projector_is_no_copy(tmp_path: Path) -> None:
    tree = under("target.", trunk(state("resnet", 4))) | mlp("online.projector.")
    assert checkpoints.load(written(tmp_path, tree)).encoder == "ema"
