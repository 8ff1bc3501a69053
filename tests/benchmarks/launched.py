"""Run the shell files of ``benchmarks/`` on small data, beside the plain commands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ssl_bench import cli
from ssl_bench.resources import find_dir
from tests.openmmlab import small as dense
from tests.protocols.svm_setup import devkit
from tests.training import small

ROOT = Path(__file__).parents[2]
CPU = ("--device", "cpu", "--workers", "0")
SELFSUP = "configs/selfsup/simclr/simclr_resnet18.py"
WORK = Path("work_dirs/selfsup/simclr/simclr_resnet18")


def launch(
    file: str,
    *words: object,
    cwd: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    **more: object,
) -> subprocess.CompletedProcess[str]:
    """Run one of the files; ``more`` is added to its environment."""
    variables = {
        **environment,
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PORT": str(_free_port()),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        **{key: str(value) for key, value in more.items()},
    }
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks" / file), *map(str, words)],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def record_in(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "records").rglob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


class Site:
    """A folder with data, recipes and a training run, as a user has them.

    Attributes:
        folder: from which files are launched.
        checkpoint: of the training run, epoch 3.
        words: what each command needs to know of the data, by command.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / WORK / "epoch_3.pth"
        self.checkpoint.parent.mkdir(parents=True)
        shutil.copy(next(find_dir("bundled").glob("*.pth")), self.checkpoint)
        images = small.write_images(folder / "images", (6, 6), (3, 2))
        photos = ("--dataset", "folder", "--data-root", str(images), *CPU)
        voc = ("--dataset", "voc07", "--data-root", str(devkit(folder / "voc")), *CPU)
        solver = ("--limit", "12", "--cfg-options", "settings.costs=1.0")
        scenes = dense.write_scenes(folder / "digit-scenes")
        digits = ("--dataset", "digit-scenes", "--data-root", str(scenes), *CPU)
        random = ("--arch", small.ARCH)
        batch = ("train_dataloader.batch_size=1", "auto_scale_lr.base_batch_size=2")
        steps = [f"{key}={value}" for key, value in dense.STEPS.items()]
        quick = ("--cfg-options", *batch, *steps)
        self.words: dict[str, tuple[str, ...]] = {
            "knn": (*photos, "--limit", "10"),
            "svm": (*voc, *solver),
            "linear": (*photos, *random),
            "semi": (*photos, *random),
            "detect": (*digits, *random, *quick),
            "segment": (*digits, *random, *quick),
        }
        self.recipes = {
            "linear": small.write_config(folder / "linear.py", "linear", epochs=1),
            "semi": small.write_config(
                folder / "semi.py", "semi", epochs=1, fraction=0.9
            ),
            "detect": "faster-rcnn_c4_digit-scenes",
            "segment": "fcn-d8_digit-scenes",
        }
        self._runs: dict[tuple[str, ...], Path] = {}
        self._plain: dict[tuple[str, ...], dict[str, Any]] = {}

    def plain(self, *line: str) -> dict[str, Any]:
        """Return the record that a command leaves in this process."""
        if line not in self._plain:
            number = len(self._plain)
            out, cache = self.folder / f"plain{number}", self.folder / f"cache{number}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SSL_BENCH_CACHE", str(cache))
                work = ("--work-dir", str(out / "run"))
                words = (*line, *work, "--results", str(out))
                assert cli.main([*words, *self.words[line[0]]]) == 0
            self._plain[line], self._runs[line] = record_in(out), out / "run"
        return self._plain[line]

    def launched(
        self,
        out: Path,
        file: str,
        *words: object,
        protocol: str,
        processes: int,
        **more: Any,
    ) -> dict[str, Any]:
        """Return the record that a shell file leaves; it must come from all of them."""
        rest = ("--results", out / "results", *self.words[protocol])
        done = launch(file, *words, *rest, cwd=self.folder, **more)
        assert done.returncode == 0, done.stderr[-3000:]
        found = record_in(out / "results")
        if protocol in ("knn", "svm"):
            said = f"process 0 of {processes}: " in done.stderr
            assert said == (processes > 1), done.stderr[-3000:]
        else:
            assert found["environment"]["processes"] == processes
        return found

    def trained(self, protocol: str) -> tuple[Path, dict[str, Any]]:
        """Train by the plain command; return the model and its record."""
        line = (protocol, str(self.recipes[protocol]), "--pretrain", "none")
        record = self.plain(*line)
        (model,) = self._runs[line].glob("iter_*.pth")
        return model, record


def check(launched: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
    """Compare what moves no number and what is the number."""
    assert launched["key"] == plain["key"]
    assert launched["metrics"] == plain["metrics"]
