"""Whether the machines of a cluster see the same cache folder.

The names of files tell nothing: every machine has a /tmp. A mark with a random content
is left in the folder where a job is submitted, and looked for where it runs.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path

from ssl_bench.errors import BenchError
from ssl_bench.files import atomic_write_text

_MARK = ".shared"
_OF_ONE_MACHINE = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
_PATIENCE = 10.0
"""Seconds that a file system over the network may take to show a new file."""


def leave_mark(folder: Path) -> str:
    """Return the mark of a folder; make folder and mark where they are missing.

    Raises:
        BenchError: when it cannot be written.
    """
    path = folder / _MARK
    text = _read(path)
    if text:
        return text
    text = secrets.token_hex(16)
    atomic_write_text(path, text)
    return _read(path) or text  # that of another writer, if it was the last


def check_mark(folder: Path, mark: str) -> None:
    """Check on a node that this is the folder that was marked.

    Raises:
        BenchError: when it is another one.
    """
    deadline = time.monotonic() + _PATIENCE
    while _read(folder / _MARK) != mark:
        if time.monotonic() > deadline:
            raise BenchError(
                f"the cache {folder} on node {socket.gethostname()} is not the folder "
                "of that name where the job was submitted: set SSL_BENCH_CACHE to a "
                "shared folder and submit again"
            )
        time.sleep(0.5)


def of_one_machine(folder: Path) -> str:
    """Say why other machines cannot see a folder, or nothing where they may."""
    real = Path(os.path.realpath(folder))
    for place in map(Path, _OF_ONE_MACHINE):
        if real.is_relative_to(place):
            return f"every machine has a {place} of its own"
    kind = _file_system(real)
    if kind in _IN_MEMORY:
        return f"it is in the memory of this machine ({kind})"
    return ""


def _file_system(path: Path) -> str:
    """Return the kind of file system that a path is on, as in ``nfs4``."""
    best, kind = -1, ""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        words = line.split()
        if len(words) < 3:
            continue
        place = Path(words[1].replace("\\040", " "))
        depth = len(place.parts)
        if path.is_relative_to(place) and depth >= best:
            best, kind = depth, words[2]
    return kind


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
