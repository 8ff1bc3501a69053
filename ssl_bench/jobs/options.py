"""What of Slurm a submission asks for, and how it is said to submitit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssl_bench.errors import UsageError
from ssl_bench.jobs.cluster import Partition, to_minutes

WITHOUT_LIMIT = 24 * 60
"""Minutes asked for where neither the user nor the partition names a limit."""
_WARNING = 90
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_OURS = ("array", "output", "error", "open-mode", "requeue", "signal", "job-name")


@dataclass(frozen=True)
class Options:
    """Hold what every cell of a submission gets.

    Attributes:
        partition: None takes the cluster's default.
        gpus: for each cell; 0 for the CPU alone.
        tasks: processes of a cell; None is one for each GPU, and one without GPUs.
        at_once: at most so many cells run at a time; None leaves it to Slurm.
        time: limit of one go, as Slurm writes it; None takes the partition's.
        cpus_per_task: for each process; None leaves it to Slurm.
        mem: memory of a node, as in ``32G``.
        account: to be charged.
        qos: quality of service.
        sbatch: further options of sbatch, by name.
    """

    partition: str | None = None
    gpus: int = 1
    tasks: int | None = None
    at_once: int | None = None
    time: str | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    account: str | None = None
    qos: str | None = None
    sbatch: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lowest = (
            ("--gpus", self.gpus, 0),
            ("--tasks", self.tasks, 1),
            ("--array", self.at_once, 1),
            ("--cpus-per-task", self.cpus_per_task, 1),
        )
        for flag, value, least in lowest:
            if value is not None and value < least:
                raise UsageError(f"{flag} {value}: it must be {least} or more")
        if self.time is not None and not to_minutes(self.time):
            raise UsageError(
                f"--time {self.time} is no time; write 2:00:00 for two hours, "
                "1-12:00:00 for a day and a half, or minutes"
            )
        if any(mark in str(value) for value in (self.mem, self.account, self.qos)
               for mark in "\n\r"):  # fmt: skip
            raise UsageError("a line end in an option of Slurm; leave it out")

    @property
    def processes(self) -> int:
        """Processes of each cell."""
        return self.tasks or max(1, self.gpus)

    def minutes(self, partition: Partition) -> int:
        """Return the time limit of one go of a cell."""
        asked = to_minutes(self.time) if self.time else partition.minutes
        return asked or WITHOUT_LIMIT

    def parameters(self, partition: Partition) -> dict[str, Any]:
        """Return the parameters of submitit's executor."""
        minutes = self.minutes(partition)
        found = {
            "job_name": "ssl-bench",
            "partition": partition.name,
            "time": minutes,
            "nodes": 1,
            "ntasks_per_node": self.processes,
            "gpus_per_node": self.gpus or None,
            "cpus_per_task": self.cpus_per_task,
            "mem": self.mem,
            "account": self.account,
            "qos": self.qos,
            "array_parallelism": self.at_once,
            # A short go keeps most of its time for work.
            "signal_delay_s": min(_WARNING, minutes * 60 // 4),
            "stderr_to_stdout": True,
            "setup": [
                "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"
            ],
            "additional_parameters": {"requeue": True, **self.sbatch},
        }
        if self.cpus_per_task:  # srun does not take it over from sbatch
            found["srun_args"] = [f"--cpus-per-task={self.cpus_per_task}"]
        return {key: value for key, value in found.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Return plain containers."""
        return dataclasses.asdict(self)


def read_sbatch(words: Sequence[str] | None) -> dict[str, str]:
    """Return further options of sbatch out of KEY=VALUE words.

    Raises:
        UsageError: for a word of another form, and for what is set already.
    """
    found = {}
    for word in words or ():
        key, mark, value = word.partition("=")
        key = key.lstrip("-").replace("_", "-")
        if not mark or not _NAME.fullmatch(key) or not value.isprintable():
            raise UsageError(
                f"--sbatch {word!r}: write KEY=VALUE with an option of sbatch, as in "
                "--sbatch constraint=a100 exclude=node7"
            )
        if key in _OURS:
            raise UsageError(f"--sbatch {word}: {key} is set by ssl-bench itself")
        found[key] = value
    return found
