"""``tools/print_config.py``: a config with its bases merged and its overrides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_bench.cli.tools import print_config

TOOL = Path(__file__).parents[1] / "tools" / "print_config.py"
BASE = """
train_cfg = dict(max_epochs=90, val_interval=1)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
"""
CHILD = """
_base_ = ["base.py"]
optim_wrapper = dict(optimizer=dict(lr=0.3))
protocol = "linear"
"""
Output = pytest.CaptureFixture[str]


def run_as_python(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    exec(text, values)
    return {name: v for name, v in values.items() if not name.startswith("__")}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "base.py").write_text(BASE)
    path = tmp_path / "child.py"
    path.write_text(CHILD)
    return path


def test_bases_are_merged_and_overrides_applied(config: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            TOOL,
            config,
            "--cfg-options",
            "train_cfg.max_epochs=10",
            "dataset=folder",
        ],
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert run_as_python(done.stdout) == {
        "train_cfg": {"max_epochs": 10, "val_interval": 1},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.3}},
        "protocol": "linear",
        "dataset": "folder",
    }


def test_shipped_configs_by_name(capsys: Output) -> None:
    assert print_config(["knn_cifar10"]) == 0
    assert run_as_python(capsys.readouterr().out)["dataset"] == "cifar10"


def test_known_names_without_a_file(capsys: Output) -> None:
    name = "resnet50_head10_4xb64-steplr1e-3-20e_in1k-1pct"

    assert print_config([name, "--cfg-options", "train_cfg.max_epochs=3"]) == 0

    found = run_as_python(capsys.readouterr().out)
    assert found["optim_wrapper"]["optimizer"]["lr"] == 0.001
    assert found["optim_wrapper"]["paramwise_cfg"]["head_lr_mult"] == 10
    assert found["train_cfg"]["max_epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["knn_cifar11"],
            1,
            "unknown config 'knn_cifar11'. Did you mean 'knn_cifar10'",
        ),
        (["gone/child.py"], 1, "config file gone/child.py does not exist"),
        (["knn_cifar10", "--cfg-options", "topk"], 1, "'topk' has no value"),
        ([], 2, "CONFIG"),
        (["knn_cifar10", "topk=3"], 2, "topk=3"),
    ],
)
def test_bad_input(
    arguments: list[str], code: int, message: str, capsys: Output
) -> None:
    assert print_config(arguments) == code

    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1
