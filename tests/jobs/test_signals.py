"""A cell whose main thread is stuck still ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ssl_bench.jobs.cell_file import read_cell
from ssl_bench.jobs.sharing import leave_mark

# A second lock of the same mutex waits for ever in C, and no signal interrupts it.
PROGRAM = """
import ctypes, os, sys
from pathlib import Path
from ssl_bench.jobs import signals
from ssl_bench.jobs.node import CellJob

signals.BUSY = 0.3

def main(words):
    if sys.argv[3] == "fork":
        if os.fork() == 0:
            os.kill(os.getpid(), 15)  # as a pool ends the processes that it started
        os.wait()
        return 0
    lock = ctypes.CDLL(None).pthread_mutex_lock
    mutex = ctypes.create_string_buffer(256)
    lock(mutex)
    os.write(1, b"stuck\\n")
    lock(mutex)

CellJob(
    main=main, words=("knn",), directory=sys.argv[1], environment={},
    cache=(Path(sys.argv[1]), sys.argv[2]), file=Path(sys.argv[1]) / "cell-0.json",
    resumes=False, again=False,
)()
"""


def start(folder: Path, what: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PATH": str(folder),  # no Slurm
        "SUBMITIT_EXECUTOR": "slurm",
        "SUBMITIT_FOLDER": str(folder),
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), leave_mark(folder), what],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_stuck_main_thread_does_not_keep_a_cell_from_ending(tmp_path: Path) -> None:
    process = start(tmp_path, "stuck")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    cell = read_cell(tmp_path / "cell-0.json")
    assert cell is not None
    assert cell.state == "stopped"
    assert cell.exit_code == 143


def test_the_end_of_a_child_is_not_that_of_the_cell(
    tmp_path: Path,
) -> None:
    with start(tmp_path, "fork") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    cell = read_cell(tmp_path / "cell-0.json")
    assert cell is not None
    assert cell.state == "done"
