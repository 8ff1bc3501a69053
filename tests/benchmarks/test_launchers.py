"""The shell files that a cluster's user launches, run with two processes on the CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_bench import cli
from tests.openmmlab import small as dense
from tests.training import small

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for path in (ROOT / "benchmarks").rglob("*.sh")
    if path.parent.name != "detectron2"
)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def launch(
    file: str, *words: object, **env: object
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        **{key: str(value) for key, value in env.items()},
    }
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks" / file), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def record_in(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "records").rglob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_is_short_and_says_how_it_is_called(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 25
    assert sum("ssl_bench " in line for line in lines) == 1
    assert os.access(path, os.X_OK)
    done = launch(str(path.relative_to(ROOT / "benchmarks")))
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert done.stderr.count("\n") == 1


def test_linear_leaves_the_record_of_the_plain_command(tmp_path: Path) -> None:
    images = tmp_path / "images"
    small.write_images(images, (6, 6), (3, 2))
    config = small.write_config(tmp_path / "recipe.py", "linear", epochs=1)
    shared = ["--arch", small.ARCH, "--dataset", "folder", "--data-root", str(images)]
    shared += ["--device", "cpu", "--workers", "0"]
    done = launch(
        "classification/dist_train_linear.sh",
        config, "none", *shared,
        "--results", tmp_path / "two", "--work-dir", tmp_path / "w2",
        GPUS=2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    plain = ["linear", str(config), "--pretrain", "none", *shared]
    plain += ["--results", str(tmp_path / "one"), "--work-dir", str(tmp_path / "w1")]
    assert cli.main(plain) == 0
    one, two = record_in(tmp_path / "one"), record_in(tmp_path / "two")
    assert one["key"] == two["key"]
    assert one["metrics"] == two["metrics"]


def test_segmentation_is_trained_and_then_tested(tmp_path: Path) -> None:
    scenes = dense.write_scenes(tmp_path / "digit-scenes")
    shared = ["--arch", dense.ARCH, "--data-root", str(scenes), "--workers", "0"]
    shared += ["--device", "cpu", "--dataset", "digit-scenes", "--cfg-options"]
    shared += ["train_dataloader.batch_size=1", "auto_scale_lr.base_batch_size=2"]
    shared += [f"{key}={value}" for key, value in dense.STEPS.items()]
    config = "fcn-d8_digit-scenes"
    done = launch(
        "segmentation/mim_dist_train.sh",
        config, "none", 2,
        "--results", tmp_path / "a", "--work-dir", tmp_path / "w", *shared,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    done = launch(
        "segmentation/mim_dist_test.sh",
        config, tmp_path / "w" / "iter_3.pth", 2,
        "--pretrain", "none", "--results", tmp_path / "b", "--work-dir", tmp_path / "v",
        *shared,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    trained, tested = record_in(tmp_path / "a"), record_in(tmp_path / "b")
    assert trained["metrics"] == tested["metrics"]
    assert trained["environment"]["processes"] == 2
