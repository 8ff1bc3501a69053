"""What Slurm says of itself and of jobs, asked with its own commands.

Clusters keep no accounting of jobs as a rule that users may read, so ``sacct`` is never
asked: ``squeue`` and ``scontrol`` know a job until some minutes after its end.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from ssl_bench.errors import BenchError, unknown

_PATIENCE = 60.0
_DAY = 24 * 60
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_FEW = 200
"""Up to so many jobs are named to squeue; of more, all of the user's are asked for."""


@dataclass(frozen=True)
class Partition:
    """Hold what matters of a partition.

    Attributes:
        name: of the partition.
        minutes: time limit of a job that asks for none; None where there is none.
        nodes: how many it has.
    """

    name: str
    minutes: int | None
    nodes: int


@dataclass(frozen=True)
class Job:
    """Hold what squeue says of a job: state as in ``RUNNING``, and the reason."""

    state: str
    reason: str


def ask(*command: str, patience: float = _PATIENCE) -> str:
    """Return what one of Slurm's commands prints.

    Args:
        command: its words.
        patience: seconds until it is given up.

    Raises:
        BenchError: when it is not installed or does not get an answer.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, errors="replace"
        )
    except FileNotFoundError as error:
        raise BenchError(
            f"{command[0]} is not there: this machine is no part of a Slurm cluster; "
            "log in to one where sbatch works, or run the command itself"
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"Slurm does not answer: {command[0]}: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BenchError(f"Slurm does not answer: {said}; try sinfo")
    return done.stdout


def find_partition(name: str | None) -> Partition:
    """Return a partition, the cluster's default one for None.

    Raises:
        BenchError: with the nearest names when there is none of that name.
    """
    text = ask("scontrol", "--oneliner", "show", "partition")
    known: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        facts = read_facts(line)
        if "PartitionName" in facts:
            known[facts["PartitionName"]] = facts
    if name is None:
        default = [key for key, facts in known.items() if facts.get("Default") == "YES"]
        if not default:
            raise BenchError(
                "this cluster has no default partition; pass --partition, one of "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        name = default[0]
    if name not in known:
        raise BenchError(unknown("partition", name, known))
    facts = known[name]
    limits = [facts.get(key, "") for key in ("DefaultTime", "MaxTime")]
    minutes = [to_minutes(limit) for limit in limits]
    nodes = facts.get("TotalNodes", "")
    return Partition(
        name,
        next((number for number in minutes if number is not None), None),
        int(nodes) if nodes.isdecimal() else 1,
    )


def max_array_size() -> int:
    """Return how many cells one job array may have."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"))
    return max(1, int(found[1])) if found else 1001


def jobs_of(arrays: Iterable[int]) -> dict[str, Job]:
    """Return the jobs that Slurm still knows, ``12_3`` or ``12``, ended ones too.

    Raises:
        BenchError: when Slurm does not answer.
    """
    numbers = sorted(set(arrays))
    if not numbers:
        return {}
    which = ["--me"]
    if len(numbers) <= _FEW:
        which = ["--jobs", ",".join(map(str, numbers))]
    form = ["--format", "%i|%T|%r"]
    try:
        text = ask("squeue", "--noheader", "--array", "--states=all", *form, *which)
    except BenchError as error:
        if "Invalid job id" in str(error):  # all of them are gone
            return {}
        raise
    found = {}
    for line in text.splitlines():
        number, _, rest = line.partition("|")
        state, _, reason = rest.partition("|")
        found[number.strip()] = Job(state.strip(), reason.strip())
    return found


def facts_of(job: str, patience: float) -> dict[str, str]:
    """Return what ``scontrol show job`` says, KEY=VALUE by key.

    Raises:
        BenchError: when Slurm does not answer or knows no such job.
    """
    text = ask("scontrol", "--oneliner", "show", "job", job, patience=patience)
    return read_facts(text)


def read_facts(line: str) -> dict[str, str]:
    """Return the KEY=VALUE words of a line."""
    words = (word.partition("=") for word in line.split())
    return {key: value for key, mark, value in words if mark}


def to_minutes(text: str) -> int | None:
    """Return a time limit in minutes, or None for none and for what is no time.

    Slurm's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; seconds are rounded up.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        hours += int(match["days"]) * 24
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return hours * 60 + minutes + (1 if seconds else 0)


def written(minutes: int) -> str:
    """Return minutes as Slurm writes a time limit: ``2:00:00`` or ``1-00:00:00``."""
    days, rest = divmod(minutes, _DAY)
    clock = f"{rest // 60}:{rest % 60:02}:00"
    return f"{days}-{clock:0>8}" if days else clock
