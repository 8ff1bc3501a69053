"""How cells stand: what they say themselves, and what Slurm says of their jobs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_bench.errors import BenchError
from ssl_bench.jobs import cell_file, cluster
from ssl_bench.jobs.cell_file import CellState, read_cell
from ssl_bench.jobs.cluster import Job
from ssl_bench.jobs.submission import Submission

PENDING = "pending"
LOST = "lost"
SUBMITTED = "submitted"
"""Nothing is known of it since Slurm does not answer."""

ACTIVE = (PENDING, cell_file.RUNNING, cell_file.REQUEUED, SUBMITTED)
TO_RETRY = (
    *(cell_file.FAILED, cell_file.CANCELLED, cell_file.PREEMPTED, cell_file.TIMEOUT),
    *(cell_file.STOPPED, LOST),
)

_ALIVE = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "RESIZING")
_QUEUED = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_ENDED = {
    "CANCELLED": cell_file.CANCELLED,
    "PREEMPTED": cell_file.PREEMPTED,
    "TIMEOUT": cell_file.TIMEOUT,
    "FAILED": cell_file.FAILED,
}
_TAIL = 8192
_NOT_OURS = ("submitit ", "srun: ", "slurmstepd")


@dataclass(frozen=True)
class Status:
    """Hold how one cell stands.

    Attributes:
        submission: it belongs to.
        number: of the cell in it.
        job: Slurm's name of its latest job; empty before it has one.
        state: one word.
        reason: more about it; may be empty.
        cell: what it said itself, of this job; None before it began.
    """

    submission: Submission
    number: int
    job: str
    state: str
    reason: str
    cell: CellState | None

    @property
    def log(self) -> Path:
        """Where it prints."""
        return self.submission.log(self.job)

    @property
    def seconds(self) -> float:
        """How long it has run; while it does, by two clocks that may differ."""
        if self.cell is None:
            return 0.0
        running = self.state == cell_file.RUNNING == self.cell.state
        now = max(0.0, time.time() - self.cell.started) if running else 0.0
        return self.cell.seconds + now

    @property
    def last_line(self) -> str:
        """The last thing that it said, on itself or in its log."""
        if self.cell is not None and self.cell.last_line:
            return self.cell.last_line
        return last_line(self.log)

    def to_json(self) -> dict[str, Any]:
        """Return plain containers."""
        about = self.submission.cells[self.number]
        cell = self.cell
        return {
            "job": self.job,
            "cell": self.number,
            "model": about.model,
            "protocol": about.protocol,
            "words": list(about.words),
            "state": self.state,
            "reason": self.reason,
            "host": cell.host if cell else "",
            "seconds": round(self.seconds, 3),
            "restarts": cell.restarts if cell else 0,
            "exit_code": cell.exit_code if cell else None,
            "record": cell.record if cell else "",
            "metrics": dict(cell.metrics) if cell else {},
            "last_line": self.last_line,
            "log": str(self.log),
        }


def ask_slurm(submissions: Iterable[Submission]) -> Mapping[str, Job] | str:
    """Return the jobs that Slurm knows of, or the sentence that it does not answer."""
    arrays = [array.number for one in submissions for array in one.arrays]
    try:
        return cluster.jobs_of(arrays)
    except BenchError as error:
        return str(error)


def statuses(submission: Submission, jobs: Mapping[str, Job] | None) -> list[Status]:
    """Return how every cell of a submission stands.

    Args:
        submission: what was submitted.
        jobs: that Slurm knows of; None where it does not answer.
    """
    names = submission.jobs()
    found = []
    for number in range(len(submission.cells)):
        name = names.get(number, "")
        cell = read_cell(submission.cell_file(number))
        if cell is not None and name and cell.job != name:
            cell = None  # it is of an earlier job
        if not name and cell is not None:
            name = cell.job  # submit was killed before it wrote the number down
        state, reason = _state(cell, jobs, name)
        found.append(Status(submission, number, name, state, reason, cell))
    return found


def _state(
    cell: CellState | None, jobs: Mapping[str, Job] | None, name: str
) -> tuple[str, str]:
    """Return a cell's state, and a reason."""
    said = cell.state if cell is not None else ""
    if said in (cell_file.DONE, cell_file.FAILED):
        return said, ""
    if jobs is None:
        return said or SUBMITTED, ""
    job = jobs.get(name)
    if job is None:
        if said in TO_RETRY:
            return said, ""
        why = "it had begun" if said else "it never began"
        return LOST, f"Slurm does not know the job any more; {why}"
    if job.state in _QUEUED:
        return (cell_file.REQUEUED if said else PENDING), _reason(job)
    if job.state in _ALIVE:
        # While a job ends, the cell itself knows best.
        ending = said if job.state == "COMPLETING" else ""
        return ending or cell_file.RUNNING, ""
    if said in TO_RETRY:
        return said, ""
    return _ENDED.get(job.state, LOST), _reason(job) or f"Slurm says {job.state}"


def _reason(job: Job) -> str:
    return "" if job.reason in ("None", "(null)") else job.reason


def last_line(log: Path) -> str:
    """Return the last line of a log that is not of Slurm or submitit."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        text = line.strip()
        if text and not text.startswith(_NOT_OURS):
            return text
    return ""


def table(found: Sequence[Status]) -> list[list[str]]:
    """Return the rows of a table of cells, the head first."""
    rows = [["job", "cell", "model", "protocol", "state", "time", "progress"]]
    for one in found:
        about = one.submission.cells[one.number]
        rows.append(
            [
                one.job,
                str(one.number),
                about.model,
                about.protocol,
                one.state,
                _clock(one.seconds),
                _progress(one),
            ]
        )
    return rows


def _progress(one: Status) -> str:
    if one.state == cell_file.DONE and one.cell is not None and one.cell.metrics:
        shown = list(one.cell.metrics.items())[:2]
        return ", ".join(f"{name} {value:.2f}" for name, value in shown)
    if one.state in (cell_file.RUNNING, cell_file.REQUEUED):
        return last_line(one.log)
    return one.reason


def _clock(seconds: float) -> str:
    whole = int(seconds)
    if not whole:
        return ""
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def counts(found: Sequence[Status]) -> str:
    """Return how many cells are in each state, as in ``3 done, 1 failed``."""
    states = Counter(one.state for one in found)
    return ", ".join(f"{count} {state}" for state, count in states.most_common())
