"""One cell of a batch: one checkpoint under one entry of a suite."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_bench.errors import BenchError
from ssl_bench.results.record import Record
from ssl_bench.suite.pretrains import Pretrain
from ssl_bench.suite.suites import Entry

FINISHED = "finished"
CACHED = "features cached"
TO_DO = "to do"
FAILED = "failed"


@dataclass
class Cell:
    """Hold one cell: what is known of it so far.

    Attributes:
        pretrain: the checkpoint.
        entry: what is evaluated.
        model: the model's name in tables, or what the user wrote.
        config: the config in use.
        dataset: name of the data set.
        key: of the record.
        state: ``finished``, ``features cached``, ``to do`` or ``failed``.
        images: how many go through the network for this cell.
        shared_with: titles of earlier cells whose extraction serves this one too.
        seconds: estimate of extraction and training; None where there is none.
        record: what was found.
        error: why there is no record.
    """

    pretrain: Pretrain
    entry: Entry
    model: str
    config: str = ""
    dataset: str = ""
    key: str = ""
    state: str = TO_DO
    images: int = 0
    shared_with: tuple[str, ...] = ()
    seconds: float | None = None
    record: Record | None = None
    error: str = ""

    @property
    def label(self) -> str:
        """The cell in a few words."""
        where = f" on {self.dataset}" if self.dataset else ""
        return f"{self.entry.title}{where} ({self.model})"

    def fail(self, error: Exception) -> None:
        """Note why there is no record."""
        self.state, self.error = FAILED, sentence(error)


def sentence(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, BenchError):
        text = str(error)
    elif isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        text = f"{error.strerror or error}{where}"
    else:
        text = f"unexpected {type(error).__name__}: {error} (--debug shows where)"
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "?" for sign in line)
