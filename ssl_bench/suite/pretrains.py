"""Which checkpoints are meant by what the user wrote: paths, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.checkpoints.source import NONE, resolve
from ssl_bench.errors import BenchError
from ssl_bench.progress import note


@dataclass(frozen=True)
class Pretrain:
    """Hold one checkpoint to evaluate.

    Attributes:
        pretrain: as `Request.pretrain`: a file, ``none``, or None for the bundled one.
        written: how to call it before its model has a name.
        error: why there is no such file; empty where there is.
    """

    pretrain: str | None
    written: str
    error: str = ""


def pretrains_of(words: Sequence[str] | None) -> list[Pretrain]:
    """Return the checkpoints that are meant, each once, in the order they are named.

    Args:
        words: files, folders with ``epoch_*.pth`` (the newest whole one), patterns as
            a shell has them, or ``none``; None or nothing for the bundled backbone.
    """
    if not words:
        return [Pretrain(None, "the bundled backbone")]
    found: list[Pretrain] = []
    first: dict[str, str] = {}
    for word in words:
        for path in _expanded(word):
            one = _one(path)
            real = one.pretrain or f"broken:{path}"
            if real != NONE and not one.error:
                real = os.path.realpath(real)
            if real in first:
                note(f"{path} is {first[real]} again: evaluated once")
                continue
            first[real] = path
            found.append(one)
    return found


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return what sorts names as people count: epoch_2 before epoch_10."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def _expanded(word: str) -> list[str]:
    """Return what a pattern matches; a word that is no pattern stands for itself."""
    path = str(Path(word).expanduser()) if word.strip() else word
    if not glob.has_magic(path) or Path(path).exists():
        return [path]
    # A pattern that matches nothing is reported like a file that is not there.
    found = glob.glob(path, recursive=True)  # noqa: PTH207 - patterns may be absolute
    return sorted(found, key=natural) or [path]


def _one(path: str) -> Pretrain:
    if path == NONE:
        return Pretrain(NONE, NONE)
    if not path.strip():
        return Pretrain(None, "''", "--pretrain is empty; name a checkpoint")
    if glob.has_magic(path) and not Path(path).exists():
        return Pretrain(None, path, f"no file matches {path}; check the pattern")
    try:
        return Pretrain(str(resolve(path)), path)
    except BenchError as error:
        return Pretrain(None, path, str(error))
