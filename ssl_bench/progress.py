"""Progress of long work: a bar on a terminal, plain lines in a log.

Everything goes to stderr, so that stdout stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SECONDS_BETWEEN_LINES = 15.0

Advance = Callable[[int], None]
"""Called with the number of items that were just finished."""


_quiet = False


def be_quiet(quiet: bool) -> None:
    """Say nothing from now on: of many processes, one speaks for all."""
    global _quiet
    _quiet = quiet


def note(text: str, *, always: bool = False) -> None:
    """Print one line for the person at the keyboard, on stderr.

    Args:
        text: the line.
        always: also where another process speaks for this one.
    """
    if _quiet and not always:
        return
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(
    what: str, total: int, done: int = 0, unit: str = "img"
) -> Iterator[Advance]:
    """Show how far ``what`` is, with rate and remaining time.

    Args:
        what: a few words in front of the bar.
        total: number of items in all.
        done: items that an earlier run had finished already.
        unit: what is counted.

    Yields:
        A function to call with the number of items just finished.
    """
    if sys.stderr.isatty() and not _quiet:
        with _bar(what, total, done, unit) as advance:
            yield advance
    else:
        yield _lines(what, total, done, unit)


@contextmanager
def _bar(what: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    start = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")
        finished = 0

        def advance(count: int) -> None:
            nonlocal finished
            finished += count
            rate = finished / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=count, rate=f"{rate:.0f} {unit}/s")

        yield advance


def _lines(what: str, total: int, done: int, unit: str) -> Advance:
    start = last = time.monotonic()
    finished = 0

    def advance(count: int) -> None:
        nonlocal finished, last
        finished += count
        now = time.monotonic()
        complete = done + finished >= total
        if now - last < _SECONDS_BETWEEN_LINES and not complete:
            return
        last = now
        rate = finished / max(now - start, 1e-9)
        left = (total - done - finished) / rate if rate else 0.0
        note(
            f"{what}: {done + finished}/{total} {unit}, {rate:.0f} {unit}/s, "
            f"{left:.0f} s left"
        )

    return advance
