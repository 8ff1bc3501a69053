"""What a cell says of itself while it runs and when it has ended: one JSON file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bench.files import atomic_write_text

RUNNING = "running"
REQUEUED = "requeued"
DONE = "done"
FAILED = "failed"
CANCELLED = "cancelled"
PREEMPTED = "preempted"
TIMEOUT = "timeout"
STOPPED = "stopped"
_STATES = (RUNNING, REQUEUED, DONE, FAILED, CANCELLED, PREEMPTED, TIMEOUT, STOPPED)


@dataclass(frozen=True)
class CellState:
    """Hold what became of a cell.

    Attributes:
        job: Slurm's name of the job that wrote this.
        state: one of the names above.
        host: machine.
        pid: process on it.
        started: when the latest go began, in seconds since 1970 by the node's clock.
        seconds: that all goes took together.
        restarts: how many goes there were before this one.
        exit_code: None while it runs.
        record: key of the record.
        metrics: values by name.
        last_line: of what it said on stderr.
    """

    job: str
    state: str
    host: str = ""
    pid: int = 0
    started: float = 0.0
    seconds: float = 0.0
    restarts: int = 0
    exit_code: int | None = None
    record: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    last_line: str = ""

    def write(self, path: Path) -> None:
        """Write it.

        Raises:
            BenchError: when the folder cannot be written.
        """
        atomic_write_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read_cell(path: Path) -> CellState | None:
    """Return what a cell has said, or None where it has not, or not readably."""
    try:
        tree = json.loads(path.read_text("utf-8"))
        return _from_json(tree)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _from_json(tree: Any) -> CellState:
    code = tree["exit_code"]
    found = CellState(
        job=str(tree["job"]),
        state=str(tree["state"]),
        host=str(tree["host"]),
        pid=int(tree["pid"]),
        started=float(tree["started"]),
        seconds=float(tree["seconds"]),
        restarts=int(tree["restarts"]),
        exit_code=None if code is None else int(code),
        record=str(tree["record"]),
        metrics={str(key): float(value) for key, value in tree["metrics"].items()},
        last_line=str(tree["last_line"]),
    )
    numbers = (found.started, found.seconds, *found.metrics.values())
    if found.state not in _STATES or not all(map(math.isfinite, numbers)):
        raise ValueError
    return found
