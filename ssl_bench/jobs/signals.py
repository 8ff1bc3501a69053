"""Signals that are heard although the main thread is busy.

Python runs a handler in the main thread, between two steps of the program. Where that
solves a large system or waits for other processes, it may come to it too late. But
every signal is written into a pipe at once: a thread reads it there, and acts when the
main thread does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Collection

BUSY = 10.0
"""Seconds that the main thread has; Slurm waits for 30 as a rule before it kills."""


class Ear:
    """Listen for signals beside the main thread.

    Args:
        numbers: of the signals.
        act: is called in a thread when the main thread does not come to its handler.
    """

    def __init__(self, numbers: Collection[int], act: Callable[[int], None]) -> None:
        self._numbers, self._act = numbers, act
        self._heard = threading.Event()
        self._turn = threading.Lock()

    def start(self) -> None:
        """Begin; called in the main thread, which has set its handlers."""
        self._read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_deaf)
        threading.Thread(target=self._listen, daemon=True).start()

    def mine(self) -> bool:
        """Say in a handler whether the main thread is in time."""
        self._heard.set()
        return self._turn.acquire(blocking=False)

    def done(self) -> None:
        """Say at the end of a handler that the next signal counts again."""
        self._heard.clear()
        self._turn.release()

    def _listen(self) -> None:
        while number := os.read(self._read, 1):
            if number[0] not in self._numbers or self._heard.wait(BUSY):
                continue
            if self._turn.acquire(blocking=False):
                self._act(number[0])
                self._turn.release()


def _deaf() -> None:
    """Keep a child's signals out of the parent's pipe."""
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
