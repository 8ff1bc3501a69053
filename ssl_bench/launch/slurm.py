"""What Slurm tells a task, in the words in which torch.distributed asks."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from ssl_bench.errors import BenchError, UsageError

_FIRST_PORT = 20000
_PORTS = 40000


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE and the meeting place.

    MASTER_ADDR and MASTER_PORT are kept where they are set. The port comes from job and
    step, so that two jobs on one machine do not meet.

    Args:
        environment: of a task that srun started.

    Raises:
        UsageError: when srun did not start this process.
        BenchError: when Slurm does not say which machine is the first.
    """
    missing = [
        name
        for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID")
        if not environment.get(name, "").isdecimal()
    ]
    if missing:
        raise UsageError(
            f"--launcher slurm needs {', '.join(missing)} in the environment; start it "
            "with srun --ntasks=N python -m ssl_bench ... --launcher slurm"
        )
    rank = int(environment["SLURM_PROCID"])
    count = _number(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    if rank >= count:
        raise UsageError(
            f"Slurm's variables say task {rank} of {count}, which cannot be; start the "
            "tasks with srun"
        )
    step = environment.get("SLURM_STEP_ID", "0")
    spread = int(environment["SLURM_JOB_ID"]) * 7 + (
        int(step) if step.isdecimal() else 0
    )
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(_tasks_here(environment, count)),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or _first_node(environment),
        "MASTER_PORT": environment.get("MASTER_PORT")
        or str(_FIRST_PORT + spread % _PORTS),
    }


def _number(environment: Mapping[str, str], *names: str) -> int:
    for name in names:
        if environment.get(name, "").isdecimal():
            return int(environment[name])
    return 1


def _tasks_here(environment: Mapping[str, str], count: int) -> int:
    """Return how many tasks run on this machine, out of ``2(x3),1``."""
    text = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get(
        "SLURM_TASKS_PER_NODE", ""
    )
    counts: list[int] = []
    for part in text.split(","):
        tasks, _, times = part.partition("(x")
        if tasks.isdecimal():
            repeats = times.rstrip(")")
            counts += [int(tasks)] * (int(repeats) if repeats.isdecimal() else 1)
    node = _number(environment, "SLURM_NODEID") if "SLURM_NODEID" in environment else 0
    return counts[node] if node < len(counts) else count


def _first_node(environment: Mapping[str, str]) -> str:
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get(
        "SLURM_JOB_NODELIST", ""
    )
    if _number(environment, "SLURM_STEP_NUM_NODES", "SLURM_JOB_NUM_NODES") == 1:
        return "127.0.0.1"
    try:
        found = subprocess.run(
            ["scontrol", "show", "hostnames", nodes],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(
            f"Slurm does not say which machines {nodes!r} are ({error}); set "
            "MASTER_ADDR to the first one"
        ) from error
    if not found:
        raise BenchError(
            "Slurm names no machine of this job; set MASTER_ADDR to the first one"
        )
    return found[0]
