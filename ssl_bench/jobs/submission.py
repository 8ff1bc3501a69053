"""A submission: a folder below the jobs dir that says what was submitted, and how.

    JOBS_DIR/<time>-<mark>/submission.json     cells, options, arrays
                           cell-<n>.json       what became of a cell, by itself
                           <job>_0_log.out     what the cell printed
                           *.pkl, *.sh         submitit's: the callable, the script

The folder is made before anything is submitted: a job may start at once and writes its
log there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bench.errors import BenchError, unknown
from ssl_bench.files import atomic_write_text
from ssl_bench.jobs.expansion import Cell
from ssl_bench.jobs.options import Options
from ssl_bench.progress import note

FILE = "submission.json"
_VERSION = 1


@dataclass(frozen=True)
class Array:
    """Hold one job array, or one job where there was a single cell.

    Attributes:
        number: that Slurm gave it.
        cells: numbers of the cells, in the order of the array's indices.
    """

    number: int
    cells: tuple[int, ...]

    def job(self, index: int) -> str:
        """Return Slurm's name of one of its jobs."""
        return f"{self.number}_{index}" if len(self.cells) > 1 else str(self.number)


@dataclass(frozen=True)
class Submission:
    """Hold what was submitted.

    Attributes:
        folder: of its files.
        directory: where the words are to be understood.
        environment: variables that every cell gets.
        options: of Slurm.
        cells: by number.
        arrays: in the order in which they were submitted; a cell belongs to the last
            one that names it.
    """

    folder: Path
    directory: str
    environment: Mapping[str, str]
    options: Options
    cells: tuple[Cell, ...]
    arrays: tuple[Array, ...] = field(default=())

    def jobs(self) -> dict[int, str]:
        """Return Slurm's name of each cell's latest job."""
        return {
            number: array.job(index)
            for array in self.arrays
            for index, number in enumerate(array.cells)
        }

    def keys(self) -> list[str]:
        """Return the keys of the cells, by number."""
        return [cell.key(self.directory) for cell in self.cells]

    def cell_file(self, number: int) -> Path:
        """Return where a cell says what becomes of it."""
        return self.folder / f"cell-{number}.json"

    def log(self, job: str) -> Path:
        """Return the log of a job's first process."""
        return self.folder / f"{job}_0_log.out"

    def write(self) -> None:
        """Write what was submitted.

        Raises:
            BenchError: when the folder cannot be written.
        """
        tree = {
            "version": _VERSION,
            "directory": self.directory,
            "environment": dict(self.environment),
            "options": self.options.to_json(),
            "cells": [
                {
                    "words": list(cell.words),
                    "model": cell.model,
                    "protocol": cell.protocol,
                    "resumes": cell.resumes,
                }
                for cell in self.cells
            ],
            "arrays": [
                {"number": array.number, "cells": list(array.cells)}
                for array in self.arrays
            ],
        }
        atomic_write_text(self.folder / FILE, json.dumps(tree, indent=1) + "\n")


def new_folder(jobs_dir: Path) -> Path:
    """Return the path of a folder for a new submission; it is not made."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return jobs_dir.absolute() / name


def read_submission(folder: Path) -> Submission:
    """Read a submission.

    Raises:
        BenchError: for a file that is none.
    """
    path = folder / FILE
    try:
        tree = json.loads(path.read_text("utf-8"))
        return _from_json(folder, tree)
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BenchError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove its folder "
            "when none of its jobs is left"
        ) from error


def _from_json(folder: Path, tree: Any) -> Submission:
    if tree["version"] != _VERSION:
        raise ValueError(f"version {tree['version']!r}, this program reads {_VERSION}")
    cells = tuple(
        Cell(
            words=tuple(map(str, cell["words"])),
            model=str(cell["model"]),
            protocol=str(cell["protocol"]),
            resumes=cell["resumes"] is True,
        )
        for cell in tree["cells"]
    )
    arrays = tuple(
        Array(int(array["number"]), tuple(map(int, array["cells"])))
        for array in tree["arrays"]
    )
    if any(not 0 <= n < len(cells) for array in arrays for n in array.cells):
        raise ValueError("an array names a cell that there is not")
    return Submission(
        folder=folder,
        directory=str(tree["directory"]),
        environment={str(k): str(v) for k, v in tree["environment"].items()},
        options=Options(**tree["options"]),
        cells=cells,
        arrays=arrays,
    )


def all_submissions(jobs_dir: Path) -> list[Submission]:
    """Return the submissions of a jobs dir, the oldest first.

    A damaged one is left out, and said.
    """
    found = []
    for path in sorted(jobs_dir.absolute().glob(f"*/{FILE}")):
        try:
            found.append(read_submission(path.parent))
        except BenchError as error:
            note(f"warning: {error}")
    return found


def find_arrays(jobs_dir: Path, numbers: Sequence[int]) -> list[Submission]:
    """Return the submissions that job arrays belong to, each once.

    Raises:
        BenchError: for a number that no submission of this folder has.
    """
    by_number = {
        array.number: submission
        for submission in all_submissions(jobs_dir)
        for array in submission.arrays
    }
    for number in numbers:
        if number not in by_number:
            text = unknown("job array", str(number), map(str, by_number))
            raise BenchError(f"{text} (in {jobs_dir}; see --jobs-dir)")
    found = {by_number[number].folder: by_number[number] for number in numbers}
    return list(found.values())


@contextlib.contextmanager
def one_at_a_time(jobs_dir: Path) -> Iterator[None]:
    """Let one process submit into a jobs dir at a time, so that no cell comes twice.

    Raises:
        BenchError: when the folder cannot be written.
    """
    path = jobs_dir / ".lock"
    try:
        jobs_dir.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise BenchError(
            f"cannot write {jobs_dir}: {error.strerror or error}; choose another "
            "place with --jobs-dir"
        ) from error
    with handle:
        # A file system without locks still has the check, only not against a race.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
