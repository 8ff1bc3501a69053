"""Networks pickled whole and TorchScript programs: only their tensors are taken."""

from __future__ import annotations

import argparse
import enum
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench.checkpoints import reader
from ssl_bench.checkpoints.formats.pickled_modules import hyper_parameters, state_dict
from ssl_bench.checkpoints.formats.placeholder import Placeholder, attributes
from ssl_bench.errors import CheckpointError

# Torch discourages writing programs; who has one still wants to read it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width = 4
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.norm = torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.shared = self.conv
        self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.register_buffer("shown", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.shared(x)).mean()


def same(found: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(right) and all(
        torch.equal(found[name], value) for name, value in right.items()
    )


@pytest.mark.parametrize("new", [False, True])
def test_a_network_pickled_whole(tmp_path: Path, new: bool) -> None:
    network, path = Network(), tmp_path / "x.pth"
    torch.save({"net": network}, path, _use_new_zipfile_serialization=new)
    found = reader.read(path).tree["net"]
    tensors = state_dict(found)
    assert tensors is not None
    assert same(tensors, network.state_dict())
    assert hyper_parameters(found)["width"] == 4
    assert state_dict(Placeholder("a.b", ())) is None


def test_modules_that_contain_one_another(tmp_path: Path) -> None:
    network, path = Network(), tmp_path / "x.pth"
    network.norm.add_module("parent", network)
    torch.save(network, path)
    with pytest.raises(CheckpointError, match="contain one another"):
        state_dict(reader.read(path).tree)


@pytest.mark.parametrize("traced", [False, True])
def test_a_torchscript_program(tmp_path: Path, traced: bool) -> None:
    network, path = Network().eval(), tmp_path / "x.pt"
    network.conv.half()
    network.conv.float()
    image = torch.zeros(1, 3, 8, 8)
    program: Any = (
        torch.jit.trace(network, image) if traced else torch.jit.script(network)
    )
    torch.jit.save(program, path)
    tree = reader.read(path).tree
    right = torch.jit.load(path).state_dict()
    assert right.keys() <= tree.keys()
    assert all(torch.equal(tree[name], right[name]) for name in right)


def test_the_code_of_a_program_is_not_read(tmp_path: Path) -> None:
    path, other = tmp_path / "x.pt", tmp_path / "y.pt"
    torch.jit.save(torch.jit.script(Network()), path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for info in old.infolist():
            content = b"garbage" if "/code/" in info.filename else old.read(info)
            new.writestr(info.filename, content)
    assert reader.read(path).tree.keys() == reader.read(other).tree.keys()


def test_a_program_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), path)
    with pytest.raises(CheckpointError, match="without tensors"):
        reader.read(path)


class Colour(enum.Enum):
    RED = 1


def test_settings_of_any_class_are_readable(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    tree = {
        "args": argparse.Namespace(arch="vit", out=Path("/runs/a")),
        "colour": Colour.RED,
    }
    torch.save(tree, path)
    read = reader.read(path).tree
    assert attributes(read["args"]) == {"arch": "vit", "out": "/runs/a"}
    assert read["colour"].args == (1,)


def test_omegaconf() -> None:
    """The file is ``OmegaConf.create(...)`` below, pickled by omegaconf 2.4.0.

    {"model": {"patch": 16, "sizes": [1, 2]}, "name": "vit"}
    """
    path = Path(__file__).parents[1] / "data" / "omegaconf_2.4.pkl"
    settings = attributes(reader.read(path).tree)
    assert settings["name"] == "vit"
    assert attributes(settings["model"]) == {"patch": 16, "sizes": [1, 2]}
