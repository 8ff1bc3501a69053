"""Start processes that work together, as torchrun would, without its seconds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = """
import sys
import torch
from ssl_bench import launch
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begin(
    script: str,
    count: int,
    *words: object,
    threads: int = 1,
    environment: dict[str, str] | None = None,
) -> list[subprocess.Popen[str]]:
    """Start ``count`` processes of a script."""
    port = free_port()
    code = START + textwrap.dedent(script)
    return [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, *map(str, words)],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": str(threads),
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(
    crew: Sequence[subprocess.Popen[str]], timeout: float = 240
) -> list[tuple[int, str, str]]:
    """Return exit code, stdout and stderr of every process."""
    found = []
    try:
        for process in crew:
            out, err = process.communicate(timeout=timeout)
            found.append((process.returncode, out, err))
    finally:
        end(crew)
    return found


def end(crew: Sequence[subprocess.Popen[str]]) -> None:
    """Leave no process and no open pipe."""
    for process in crew:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
