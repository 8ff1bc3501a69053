"""What the tests of both SVM protocols share: runs, a spy, a devkit, a run to kill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ssl_bench import suite
from ssl_bench.features import Extraction
from ssl_bench.results.record import Metric, Record
from tests.data.fake_devkit import write_devkit

QUICK = Extraction(batch_size=16, workers=0)
RANDOM: dict[str, Any] = {"pretrain": "none", "arch": "resnet18-w4"}


def run(
    protocol: str,
    folder: Path,
    *,
    rerun: bool = False,
    seed: int = 0,
    **settings: object,
) -> Record:
    """Run a protocol on given features."""
    options = {f"settings.{name}": value for name, value in settings.items()}
    return suite.evaluate(
        protocols=protocol, features=folder, options=options, rerun=rerun, seed=seed
    )[0]


def metric(record: Record, name: str) -> Metric:
    found = record.metric(name)
    assert found is not None, name
    return found


def names(record: Record) -> list[str]:
    return [metric.name for metric in record.metrics]


def devkit(root: Path) -> Path:
    """Write 24 images to train on and 12 to test, of cow, bus and sheep."""
    kinds = ["1 -1 -1", "-1 1 -1", "-1 -1 1", "1 0 -1", "-1 -1 -1", "0 1 1"]
    write_devkit(
        root,
        {f"{2 * i + 1:06d}": kinds[i % 6] for i in range(24)},
        {f"{2 * i + 2:06d}": kinds[i % 6] for i in range(12)},
    )
    return root / "VOCdevkit"


def run_on_devkit(
    protocol: str, root: Path, features: Sequence[str], **settings: object
) -> Record:
    """Run a protocol at two costs on a random network's features of a devkit."""
    chosen = {"features": list(features), "costs": [0.1, 1.0], **settings}
    return suite.evaluate(
        protocols=protocol,
        dataset="voc07",
        data_root=root,
        extraction=QUICK,
        options={f"settings.{name}": value for name, value in chosen.items()},
        **RANDOM,
    )[0]


class Spy:
    """Solve as ever, and write down which classes; raise before the call that is told.

    Attributes:
        calls: classes of every call.
    """

    def __init__(self, solve: Any, stop_before: int | None = None) -> None:
        self.solve, self.stop_before = solve, stop_before
        self.calls: list[list[int]] = []

    def __call__(self, machine: Any, classes: Sequence[int], **rest: Any) -> Any:
        if len(self.calls) == self.stop_before:
            raise KeyboardInterrupt
        self.calls.append(list(classes))
        return self.solve(machine, classes, **rest)


def spy_on(
    monkeypatch: pytest.MonkeyPatch,
    protocol: ModuleType,
    stop_before: int | None = None,
) -> Spy:
    """Watch what a protocol solves from now on."""
    plain = getattr(protocol.solve_classes, "solve", protocol.solve_classes)
    spy = Spy(plain, stop_before)
    monkeypatch.setattr(protocol, "solve_classes", spy)
    return spy


_WORKER = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from ssl_bench import suite
from ssl_bench.cells import Cells

protocol, folder, log, pause, options = sys.argv[1:]
put = Cells.put
log = Path(log)

def slow(self, name, cell):
    time.sleep(float(pause))
    put(self, name, cell)
    with log.open("a") as file:
        file.write(name + "\\n")

Cells.put = slow
log.touch()
record = suite.evaluate(
    protocols=protocol, features=Path(folder), options=json.loads(options)
)[0].to_json()
print(json.dumps([record["metrics"], record["details"]]))
"""


def start(
    protocol: str, folder: Path, log: Path, pause: float, **settings: object
) -> subprocess.Popen[str]:
    """Start a run in a process of its own; it prints its metrics and details.

    Args:
        protocol: its name.
        folder: given features.
        log: gets the name of every cell that was kept.
        pause: seconds before a cell is kept.
        settings: of the protocol.
    """
    options = {f"settings.{name}": value for name, value in settings.items()}
    words = [protocol, str(folder), str(log), str(pause), json.dumps(options)]
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wait_for_a_cell(process: subprocess.Popen[str], log: Path) -> None:
    """Return when a run has kept something, has ended, or took a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.stat().st_size:
            return
        time.sleep(0.01)
