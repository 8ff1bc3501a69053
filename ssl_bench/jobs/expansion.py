"""From the words after ``--`` to cells: one checkpoint under one protocol each."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.errors import BenchError, UsageError
from ssl_bench.progress import note
from ssl_bench.results.record import digest

PRETRAIN = "--pretrain"
_NONE = "none"
_OWN = {
    "--launcher": "submit starts the processes itself; say --gpus N or --tasks N",
    "--dry-run": "write it before the --",
}


@dataclass(frozen=True)
class Cell:
    """Hold one cell.

    Attributes:
        words: after ``ssl-bench``.
        model: the checkpoint, as it is shown.
        protocol: what is evaluated, as it is shown.
        resumes: whether the command goes on with ``--resume``.
    """

    words: tuple[str, ...]
    model: str
    protocol: str
    resumes: bool = False

    def key(self, folder: str) -> str:
        """Return what two cells have in common that are the same.

        Args:
            folder: where the words are to be understood.
        """
        return digest([folder, *self.words])[:32]


def take_pretrains(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words without ``--pretrain``, and what it named.

    Files after the first one belong to it too: a shell has expanded the pattern.
    """
    rest: list[str] = []
    found: list[str] = []
    i = 0
    while i < len(words):
        name, mark, value = words[i].partition("=")
        i += 1
        if name != PRETRAIN:
            rest.append(words[i - 1])
            continue
        if mark:
            found.append(value)
        elif i < len(words):
            found.append(words[i])
            i += 1
        else:
            raise UsageError(f"{PRETRAIN} at the end names nothing; name a checkpoint")
        while i < len(words) and _is_checkpoint(words[i]):
            found.append(words[i])
            i += 1
    return rest, found


def _is_checkpoint(word: str) -> bool:
    if word.startswith("-") or word.endswith(".py"):
        return False
    return glob.has_magic(word) or Path(word).is_file()


def expand(words: Sequence[str]) -> list[str]:
    """Return the checkpoints that are meant, patterns in the order people count in.

    Raises:
        BenchError: for a pattern without a match, and for what cannot be read.
    """
    found: list[str] = []
    first: dict[str, str] = {}
    for word in words:
        path = os.path.expanduser(word)  # noqa: PTH111 - Path would drop a "./"
        matches = [path]
        if glob.has_magic(path) and not Path(path).exists():
            found_here = glob.glob(path, recursive=True)  # noqa: PTH207 - any path
            matches = sorted(found_here, key=_as_counted)
            if not matches:
                raise BenchError(_no_match(word))
        for match in matches:
            real = match if match == _NONE else os.path.realpath(_readable(match))
            if real in first:
                note(f"{match} is {first[real]} again: submitted once")
                continue
            first[real] = match
            found.append(match)
    return found


def _as_counted(text: str) -> list[tuple[int, int | str]]:
    """Return what sorts epoch_9 before epoch_10."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _readable(name: str) -> str:
    """Return a name that can be read.

    Raises:
        BenchError: saying why it cannot.
    """
    path = Path(name)
    if not name.strip():
        raise UsageError(f"{PRETRAIN} is empty; name a checkpoint")
    if not path.exists():
        raise BenchError(f"{PRETRAIN} {name} does not exist; {_nearest(path)}")
    if not os.access(path, os.R_OK):
        raise BenchError(f"{PRETRAIN} {name} cannot be read; check its rights")
    if path.is_file() and not path.stat().st_size:
        raise BenchError(f"{PRETRAIN} {name} is an empty file; write it again")
    return name


def _no_match(pattern: str) -> str:
    return f"no file matches {pattern}; {_nearest(Path(pattern))}"


def _nearest(path: Path) -> str:
    """Say how far the path exists."""
    folder = next(above for above in (path.parent, *path.parents) if above.is_dir())
    count = sum(1 for _ in folder.iterdir())
    return f"the nearest folder that exists is {folder.absolute()} ({count} entries)"


def make_cells(
    words: Sequence[str],
    pretrains: Sequence[str],
    resumes: Callable[[str], bool],
) -> list[Cell]:
    """Return the cells of a command: checkpoints by entries of its suite.

    Args:
        words: the command without ``--pretrain``.
        pretrains: files; none for what the command takes by itself.
        resumes: whether a command goes on with ``--resume``.

    Raises:
        UsageError: for options that cells cannot have.
        BenchError: for a suite that there is not.
    """
    for word in words:
        if _option(word) in _OWN:
            raise UsageError(f"{_option(word)} after the --: {_OWN[_option(word)]}")
    commands = _commands(words)
    found: dict[tuple[str, ...], Cell] = {}
    for pretrain in pretrains or (None,):
        named = [] if pretrain is None else [PRETRAIN, pretrain]
        for line, protocol in commands:
            cell = Cell(
                words=(*line, *named),
                model=_shown(pretrain),
                protocol=protocol,
                resumes=resumes(line[0]),
            )
            if cell.words in found:
                note(f"{protocol} of {cell.model} is named twice: submitted once")
            found[cell.words] = cell
    if len(found) > 1 and any(_option(word) == "--work-dir" for word in words):
        raise UsageError(
            f"--work-dir after the --: it would be one folder for {len(found)} cells; "
            "leave it out, each has one of its own"
        )
    return list(found.values())


def _commands(words: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """Return the commands of one checkpoint, with a short name of each."""
    if words[0] != "run":
        return [(tuple(words), words[0])]
    from ssl_bench.suite.suites import read_suite

    rest, name = _without_suite(words[1:])
    suite = read_suite(name)
    return [((*entry.words(None), *rest), entry.title) for entry in suite.entries]


def _without_suite(words: Sequence[str]) -> tuple[list[str], str]:
    rest: list[str] = []
    name = ""
    left = iter(words)
    for word in left:
        if word == "--suite":
            name = next(left, "")
        elif word.startswith("--suite="):
            name = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, name


def _option(word: str) -> str:
    return word.partition("=")[0]


def _shown(pretrain: str | None) -> str:
    """Return the last parts of a path, enough to tell one model from another."""
    if pretrain is None:
        return "bundled"
    return "/".join(Path(pretrain).parts[-2:])
