"""How long ``ssl-bench submit`` takes for many cells, on a Slurm of this machine.

The partition is down meanwhile, so that no cell runs beside the measurement. What is
measured is the whole process; afterwards the processes of its session are counted.

python -m benchmarks.speed.submit
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed import measure
from tests.jobs import slurm


def main() -> None:
    """Run the measurement and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()

    with slurm.running() as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.ask("scontrol", "update", "PartitionName=cpu", "State=DOWN")
        found = {
            str(count): [_submit(cluster, Path(folder), count, turn)
                         for turn in range(args.repeats)]
            for count in args.cells
        }  # fmt: skip
    report = {
        "what": "ssl-bench submit of so many cells, whole process",
        "bar": "1000 cells under 10 s, no process afterwards",
        "seconds": {
            count: measure.spread([run["submit"] for run in runs])
            for count, runs in found.items()
        },
        "seconds_of_jobs": {
            count: measure.spread([run["jobs"] for run in runs])
            for count, runs in found.items()
        },
        "processes_afterwards": max(
            run["left"] for runs in found.values() for run in runs
        ),
        "machine": measure.machine(("submitit",)),
    }
    measure.write("submit", report, args.out)


def _submit(cluster: slurm.Slurm, above: Path, count: int, turn: int) -> dict[str, Any]:
    """Submit so many cells, look at them, and cancel them; return the seconds."""
    folder = above / f"{count}-{turn}"
    (folder / "run").mkdir(parents=True)
    for epoch in range(count):
        (folder / "run" / f"epoch_{epoch}.pth").write_bytes(b"weights")
    environment = {**cluster.environment(), "SSL_BENCH_CACHE": str(folder / "cache")}

    def run(*words: str) -> tuple[float, int, str]:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "ssl_bench", *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
            start_new_session=True,
        )
        printed, _ = process.communicate()
        seconds = time.perf_counter() - start
        return seconds, _processes(process.pid), printed

    pattern = "run/epoch_*.pth"
    words = ("--gpus", "0", "--json", "--", "knn", "--pretrain", pattern)
    seconds, left, printed = run("submit", *words)
    tree = json.loads(printed)
    assert len({cell["job"] for cell in tree["cells"]}) == count, "not all submitted"
    looking, _, printed = run("jobs", "--json")
    assert {row["state"] for row in json.loads(printed)} == {"pending"}
    for array in tree["arrays"]:
        cluster.ask("scancel", str(array))
    print(f"{count} cells: submit {seconds:.2f} s, jobs {looking:.2f} s", flush=True)
    return {"submit": seconds, "jobs": looking, "left": left}


def _processes(session: int) -> int:
    """Return how many processes belong to a session."""
    found = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found += os.getsid(int(path.name)) == session
        except ProcessLookupError:
            continue
    return found


if __name__ == "__main__":
    main()
