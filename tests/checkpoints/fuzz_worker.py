"""Run ``ssl-bench extract FILE --dry-run`` again and again, and watch what it takes.

A line of JSON with a path comes in, a line of JSON with what happened goes out. The
process may not grow beyond a limit of its own, so that a bomb ends it and not the
machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

ROOM = 2 << 30
PAUSE = 0.002


def anonymous() -> int:
    """Return the anonymous resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("no RssAnon")


class Watch:
    """Keep the largest anonymous memory since the last question."""

    def __init__(self) -> None:
        self.level = anonymous()
        self.peak = 0
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, anonymous() - self.level)
            time.sleep(PAUSE)

    def restart(self) -> None:
        self.peak = anonymous() - self.level


def attempt(path: str) -> dict[str, object]:
    """Run the command on one file."""
    from ssl_bench.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["extract", path, "--dry-run"])
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"
    return {"code": code, "stderr": err.getvalue()}


def serve() -> None:
    """Answer until the questions end."""
    import torch

    import ssl_bench.checkpoints

    assert ssl_bench.checkpoints
    torch.set_num_threads(1)
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    # What native code prints is no reply.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    first = json.loads(sys.stdin.readline())
    attempt(first)  # the first run imports; memory counts from after it
    watch = Watch()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(json.dumps("ready"), file=replies)
    for line in sys.stdin:
        watch.restart()
        start = time.perf_counter()
        facts = attempt(json.loads(line))
        facts["seconds"] = time.perf_counter() - start
        facts["peak"] = max(watch.peak, anonymous() - watch.level)
        print(json.dumps(facts), file=replies)


if __name__ == "__main__":
    serve()
