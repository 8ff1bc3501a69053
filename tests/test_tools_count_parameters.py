"""``tools/count_parameters.py``: configs, checkpoints and names of architectures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from ssl_bench import backbones
from ssl_bench.cli.tools import count_parameters

TOOL = Path(__file__).parents[1] / "tools" / "count_parameters.py"

MODULE = """
import torch
from ssl_bench.registry import MODELS

@MODELS.register_module()
class CountedNet(torch.nn.Module):
    dims = {"final": 4}

    def __init__(self, width=4):
        super().__init__()
        self.first = torch.nn.Linear(3, width)
        self.second = torch.nn.Linear(width, 4, bias=False)
        self.second.requires_grad_(False)

    def forward_taps(self, images_BCHW, taps):
        raise NotImplementedError
"""
CONFIG = """
protocol = "knn"
custom_imports = dict(imports=["counted_net"])
backbone = dict(type="CountedNet", width=5)
"""


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.split() for line in text.splitlines() if line]
    return {words[0]: words[1:] for words in lines}


def test_the_tool_prints_the_known_lines() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "resnet50"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # protocols.md, section 1.3: 23,508,032 parameters.
    for line in (
        "Number of backbone parameters: 23.508 M",
        "Number of backbone parameters requiring grad: 23.508 M",
        "Number of total parameters: 23.508 M",
        "Number of total parameters requiring grad: 23.508 M",
    ):
        assert line in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arch", "network"),
    [
        ("resnet18", torchvision.models.resnet18),
        (
            "vit_small_patch16_224",
            lambda: timm.create_model("vit_small_patch16_224", num_classes=0),
        ),
    ],
)
def test_architectures_have_the_parameters_of_the_packages(
    arch: str, network: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(network)
    theirs = network()
    expected = sum(
        parameter.numel()
        for name, parameter in theirs.named_parameters()
        if not name.startswith("fc.")
    )
    assert count_parameters([arch]) == 0
    assert rows(capsys.readouterr().out)["all"] == [f"{expected:,}", f"{expected:,}"]


def test_stages_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert count_parameters(["resnet18"]) == 0
    found = rows(capsys.readouterr().out)
    # Two basic blocks of 64 channels: four 3x3 convolutions and four batch norms.
    assert found["layer1"][0] == f"{4 * 64 * 64 * 9 + 4 * 2 * 64:,}"
    assert found["conv1"][0] == f"{3 * 64 * 49:,}"
    stages = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    numbers = [int(found[stage][0].replace(",", "")) for stage in stages]
    assert f"{sum(numbers):,}" == found["all"][0]


def test_a_checkpoint_counts_as_its_architecture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(backbones.build("resnet18-w4", 1).state_dict(), tmp_path / "a.pth")
    assert count_parameters([str(tmp_path / "a.pth")]) == 0
    from_file = capsys.readouterr().out
    assert count_parameters(["resnet18-w4"]) == 0
    assert capsys.readouterr().out == from_file


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_config_counts_what_it_builds(
    wrapped: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    if "counted_net" not in sys.modules:
        (tmp_path / "counted_net.py").write_text(MODULE)
    config = CONFIG.replace("backbone = dict(", "model = dict(backbone=dict(")
    config = config.replace("width=5)", "width=5))")
    (tmp_path / "my_config.py").write_text(config if wrapped else CONFIG)
    assert count_parameters([str(tmp_path / "my_config.py")]) == 0
    found = rows(capsys.readouterr().out)
    assert found["first"] == [str(3 * 5 + 5)] * 2
    assert found["second"] == [str(5 * 4), "0"]
    assert found["all"] == [str(20 + 20), "20"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "CONFIG"),
        (["resnet51"], 2, "'resnet50'"),
        (["nowhere.pth"], 1, "does not exist"),
        (["nowhere.py"], 1, "cannot be read"),
        (["empty.py"], 1, "no backbone=dict(type=...)"),
        (["unknown.py"], 1, "not registered"),
        (["damaged.pth"], 1, "empty"),
    ],
)
def test_errors_are_one_line(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.py").write_text('protocol = "knn"\n')
    Path("unknown.py").write_text('backbone = dict(type="NoSuchNet")\n')
    Path("damaged.pth").write_bytes(b"")
    assert count_parameters(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("count_parameters.py: error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        count_parameters(["--help"])
    assert caught.value.code == 0
    assert "CONFIG" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Fail to import")
def test_a_network_without_taps_can_be_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A config of OpenMMLab's: torchvision's parameters, and no ``forward_taps``."""
    text = 'model = dict(backbone=dict(type="mmpretrain.ResNet", depth=18))\n'
    (tmp_path / "openmmlab.py").write_text(text)
    assert count_parameters([str(tmp_path / "openmmlab.py")]) == 0
    theirs = torchvision.models.resnet18()
    theirs.fc = torch.nn.Identity()
    expected = sum(parameter.numel() for parameter in theirs.parameters())
    assert rows(capsys.readouterr().out)["all"] == [f"{expected:,}"] * 2
