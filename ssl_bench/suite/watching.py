"""Watch a training run, and evaluate each checkpoint once it is whole.

A file counts as written when its size and time were the same in two looks and it opens
as a whole checkpoint. One that stays broken is looked at again when it changes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.checkpoints import reader
from ssl_bench.errors import BenchError, UsageError
from ssl_bench.progress import note
from ssl_bench.suite.cell import FAILED, Cell
from ssl_bench.suite.curve import Curve
from ssl_bench.suite.pretrains import natural

FOLDERS = (".", "checkpoints")
"""Where a training run writes, from its folder; the second is Lightning's."""

# Source: mmengine CheckpointHook, filename_tmpl; vturrisi/solo-learn
#     solo/utils/checkpointer.py, ckpt_placeholder; Lightning ModelCheckpoint, filename.
_NAMES = (
    re.compile(r"epoch_(?P<epoch>\d+)\.pth"),
    re.compile(r"iter_(?P<epoch>\d+)\.pth"),
    re.compile(r"(.+-)?ep=(?P<epoch>\d+)(-stp=\d+)?\.ckpt"),
    re.compile(r"(.*[^A-Za-z])?epoch=(?P<epoch>\d+)([^\d].*)?\.ckpt"),
)
EXPECTED = "epoch_*.pth, iter_*.pth, *-ep=*.ckpt, epoch=*.ckpt"
_SHORT = 1.0

Stamp = tuple[int, int]
"""Size and time of a file."""


@dataclass(frozen=True)
class Found:
    """Hold a checkpoint by its name.

    Attributes:
        path: of the file.
        epoch: the number in its name.
    """

    path: Path
    epoch: int


@dataclass(frozen=True)
class Rule:
    """Say which checkpoints are evaluated, and when the watch ends.

    Attributes:
        every: only numbers that it divides.
        until: end after this one; None goes on.
        poll: seconds between two looks.
        once: evaluate what is there, and end.
    """

    every: int = 1
    until: int | None = None
    poll: float = 30.0
    once: bool = False

    def wants(self, found: Found) -> bool:
        """Say whether a checkpoint is one to evaluate."""
        in_time = self.until is None or found.epoch <= self.until
        return in_time and found.epoch % self.every == 0


def epoch_of(name: str) -> int | None:
    """Return the number in a checkpoint's name; None for any other file."""
    for pattern in _NAMES:
        match = pattern.fullmatch(name)
        if match is not None:
            return int(match["epoch"])
    return None


def checkpoints_in(folder: Path) -> list[Found]:
    """Return the checkpoints of a training run, the earliest first."""
    found = []
    for place in (folder / name for name in FOLDERS):
        if not place.is_dir():
            continue
        for path in place.iterdir():
            epoch = epoch_of(path.name)
            if epoch is not None and path.is_file():
                found.append(Found(path, epoch))
    return sorted(found, key=lambda one: (one.epoch, natural(one.path.name)))


class Watch:
    """Evaluate the checkpoints of one training run.

    Args:
        folder: the run's.
        evaluate: makes the records of a checkpoint file.
        curve: where the numbers go.
        rule: which checkpoints, and until when.
        sleep: waits; a test's own.
    """

    def __init__(
        self,
        folder: Path,
        evaluate: Callable[[Path], Sequence[Cell]],
        curve: Curve,
        rule: Rule,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder, self.evaluate, self.curve = folder, evaluate, curve
        self.rule, self.sleep = rule, sleep
        self.failed: dict[str, None] = {}
        self._last: dict[Path, Stamp] = {}
        self._tried: dict[Path, Stamp] = {}
        self._said: set[Path] = set()
        self._reached = False

    def run(self) -> int:
        """Look and evaluate until the rule says that it is the end.

        Returns:
            How many checkpoints failed.
        """
        self.look()
        self.sleep(min(self.rule.poll, _SHORT) if self.rule.once else self.rule.poll)
        while True:
            self.round()
            if self.rule.once or (self._reached and not self._unsettled()):
                break
            self.sleep(self.rule.poll)
        for name in self._unsettled():
            note(f"{name} is still being written: left alone")
        return len(self.failed)

    def look(self) -> list[Found]:
        """Return the checkpoints that did not change since the last look."""
        now = {}
        for found in checkpoints_in(self.folder):
            try:
                facts = found.path.stat()
            except OSError:  # removed in this moment
                continue
            now[found] = facts.st_size, facts.st_mtime_ns
        settled = [f for f, stamp in now.items() if self._last.get(f.path) == stamp]
        self._last = {found.path: stamp for found, stamp in now.items()}
        return settled

    def round(self) -> None:
        """Look, and evaluate what has settled."""
        for found in self.look():
            stamp = self._last[found.path]
            if self._tried.get(found.path) == stamp:
                continue
            if self.rule.wants(found):
                self._try(found)
                self._tried[found.path] = stamp
            until = self.rule.until
            if until is not None and found.epoch >= until and not broken(found.path):
                self._reached = True

    def _try(self, found: Found) -> None:
        """Evaluate a checkpoint, if it is whole."""
        name = found.path.name
        why = broken(found.path)
        if why:
            if found.path not in self._said:
                note(f"left alone: {why}; it is tried again when it changes")
            self._said.add(found.path)
            return
        note(f"{name}: evaluating")
        try:
            cells = self.evaluate(found.path)
            self.curve.add(found.epoch, name, cells)
            self.curve.write()
        except UsageError:  # the command line is wrong for all
            raise
        except BenchError as error:
            note(f"FAILED: {name}: {error}")
            self.failed[name] = None
            return
        if any(cell.state == FAILED for cell in cells):
            self.failed[name] = None
        else:
            self.failed.pop(name, None)

    def _unsettled(self) -> list[str]:
        """Return the names of what changed between the last two looks."""
        return [
            found.path.name
            for found in checkpoints_in(self.folder)
            if self.rule.wants(found) and found.path not in self._tried
        ]


def broken(path: Path) -> str:
    """Return why a file is no whole checkpoint; nothing where it is one.

    Nothing in it is executed, and every check sum is verified.
    """
    try:
        with reader.read(path, digest=False):
            return ""
    except BenchError as error:
        return str(error)
