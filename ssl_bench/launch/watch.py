"""Notice within a minute that one of the processes that work together is gone.

A collective does not: over TCP it fails or hangs, and it never says who is missing.
Every process raises a counter in the shared store. Process 0 looks at all counters, the
others at that of process 0, and whoever finds something writes one sentence that all
read. Only changes of counters count, seen by the observer's own clock: clocks of
machines differ.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore

from ssl_bench.errors import BenchError
from ssl_bench.progress import note

_BEAT = 1.0
_SILENCE = 30.0
# A loop that comes this late was stopped itself, as all of a suspended job are.
_LATE = 10.0
_STOP = "stop"
_FOUND_OUT = 45.0


class Watch:
    """Watch the other processes from a thread of its own.

    Args:
        store: that all processes share.
        rank: of this process.
        world: number of processes.
    """

    def __init__(self, store: Any, rank: int, world: int) -> None:
        # A connection of its own: on the other one the main thread may wait for long.
        self._store = PrefixStore("watch", store.clone())
        self._rank, self._world = rank, world
        self._names: list[str] = []
        self._ended = threading.Event()
        self._said = threading.Event()
        self._busy = threading.Lock()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def start(self, hosts: Sequence[str], pids: Sequence[int]) -> None:
        """Begin; every process calls this, knowing where all of them are."""
        self._names = [
            f"process {rank} ({host}, pid {pid})"
            for rank, (host, pid) in enumerate(zip(hosts, pids, strict=True))
        ]
        self._thread.start()

    def stop(self) -> None:
        """End the watch of this process; the others have ended their work, too."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def failed(self, error: BaseException) -> None:
        """Tell the others why this process ends.

        Where it ends because another one did, wait until it is known which, and end
        with the sentence about that one.

        Raises:
            BenchError: naming the process that was lost.
            SystemExit: when another process has said the same already.
        """
        if not self._names:
            return
        if _is_lost_connection(error):
            self._said.wait(_FOUND_OUT)
            text = self._sentence() or "one of the processes was lost"
            self._ended.set()
            self._linger()
            raise BenchError(f"{text}; this process ends, too") from error
        self._ended.set()
        text = " ".join(str(error).split()) or type(error).__name__
        first = self._say(f"failed: {text}", self._rank)
        self._linger()
        if (
            isinstance(error, BenchError)
            and first
            and first.endswith(f"failed: {text}")
        ):
            raise SystemExit(error.exit_code) from error

    def _linger(self) -> None:
        """Let the others read the store first, where this process may keep it."""
        if self._rank == 0:
            time.sleep(4 * _BEAT)

    def _say(self, what: str, rank: int) -> str:
        """Write why all have to end; return what another one has said before."""
        text = f"{self._names[rank]} {what}"
        try:
            with self._busy:
                kept = self._store.compare_set(_STOP, "", text).decode()
        except (RuntimeError, ValueError):
            return ""
        return "" if kept == text else str(kept)

    def _sentence(self) -> str:
        try:
            with self._busy:
                if self._store.check([_STOP]):
                    return str(self._store.get(_STOP).decode())
        except (RuntimeError, ValueError):
            return self._lost(0)
        return ""

    def _lost(self, rank: int) -> str:
        return f"{self._names[rank]} is not heard of any more"

    def _loop(self) -> None:
        seen: dict[int, tuple[bytes, float]] = {}
        beat, last = 0, time.monotonic()
        while not self._ended.wait(_BEAT):
            beat += 1
            now = time.monotonic()
            if now - last > _LATE:
                seen.clear()
            last = now
            text = self._look(beat, seen, now)
            if text and not self._ended.is_set():
                self._end(text)
                return

    def _look(self, beat: int, seen: dict[int, tuple[bytes, float]], now: float) -> str:
        """Give a sign of life, and return why to end, or nothing."""
        others = range(1, self._world) if self._rank == 0 else (0,)
        try:
            with self._busy:
                self._store.set(f"beat{self._rank}", str(beat))
                if self._store.check([_STOP]):
                    return str(self._store.get(_STOP).decode())
                counters = [
                    self._store.get(f"beat{other}")
                    if self._store.check([f"beat{other}"])
                    else b""
                    for other in others
                ]
        except (RuntimeError, ValueError):
            return "" if self._ended.is_set() else self._lost(0)
        for other, counter in zip(others, counters, strict=True):
            if other not in seen or seen[other][0] != counter:
                seen[other] = (counter, now)
            elif now - seen[other][1] > _SILENCE:
                self._say("is not heard of any more", other)
                return self._lost(other)
        return ""

    def _end(self, text: str) -> None:
        """End this process, whatever its main thread waits for.

        A main thread that has met a broken connection says it itself, in time.
        """
        self._said.set()
        if self._ended.wait(2 * _BEAT):
            return
        self._linger()
        note(f"ssl-bench: error: {text}; process {self._rank} ends, too", always=True)
        os._exit(1)


def _is_lost_connection(error: BaseException) -> bool:
    """Say whether a collective failed since another process is gone."""
    if not isinstance(error, RuntimeError):
        return False
    if isinstance(error, distributed.DistBackendError | distributed.DistNetworkError):
        return True
    text = str(error).lower()
    return any(
        words in text
        for words in ("gloo", "connection closed", "connection reset", "broken pipe")
    )
