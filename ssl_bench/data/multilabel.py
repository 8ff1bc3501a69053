"""Any images of one's own with several labels each, listed in two CSV files."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ssl_bench.data import scenes
from ssl_bench.data.image_list import ImageDataset, PathList, shortened
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

DATASET = "multilabel"

FIRST_COLUMN = "image"
LABELS = {"1": 1, "0": 0, "-1": -1}

_HEADER = "the first line must read 'image,<class>,<class>,...'"
_ROW = (
    "a line is the path of an image below the folder, then 1 (there), 0 (not there) or "
    "-1 (left out) for each class"
)


@DATASETS.register_module(name=DATASET)
class MultiLabel(ImageDataset):
    """Read ``train.csv`` or ``val.csv``; both name the same classes in one order."""

    name = DATASET
    folders = ("multilabel",)
    own = True
    transform_name = "squash"
    layout = (
        "train.csv and val.csv with the header 'image,<class>,<class>,...' and a line "
        "an image: its path below the folder, then 1, 0 or -1 for each class"
    )

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        # The bundled scenes stay marked, under whatever name they are opened.
        self.bundled = self.bundled or (root / scenes.MANIFEST).is_file()
        path = root / f"{split}.csv"
        rows = _rows(path)
        self.classes = _classes(path, rows)
        _check_partner(root, split, self.classes)
        lines: dict[str, int] = {}
        paths: list[str] = []
        targets: list[list[int]] = []
        for number, row in rows:
            targets.append(_targets(path, number, row, self.classes))
            paths.append(row[0])
            _check_path(path, number, row[0], lines)
        if not paths:
            raise DataError(f"{path} lists no image; {_ROW}")
        self.samples = PathList(paths)
        self.targets = np.array(targets, dtype=np.int8)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether there is a ``train.csv`` or a ``val.csv``."""
        return any((folder / f"{split}.csv").is_file() for split in cls.splits)


def _check_partner(root: Path, split: str, classes: tuple[str, ...]) -> None:
    """Refuse other classes than the other file has; train alone may be opened."""
    other = root / ("train.csv" if split == "val" else "val.csv")
    if split == "train" and not other.exists():
        return
    theirs = _classes(other, _rows(other))
    if theirs == classes:
        return
    here = f"{root / split}.csv, line 1"
    if only := sorted(set(classes) ^ set(theirs)):
        what = f"{len(only)} classes are in one of them only: {shortened(only)}"
    else:
        place = next(i for i, c in enumerate(classes) if c != theirs[i])
        what = (
            f"class {place + 1} is {classes[place]!r} here and {theirs[place]!r} there"
        )
    raise DataError(
        f"{here}: the classes differ from those of {other.name}: {what}; give both "
        "files the same classes in the same order"
    )


def _classes(path: Path, rows: Iterator[tuple[int, list[str]]]) -> tuple[str, ...]:
    """Take the header off ``rows`` and return its classes."""
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}, line 1: the file is empty; {_HEADER}")
    number, (column, *classes) = first
    place = f"{path}, line {number}"
    if column != FIRST_COLUMN:
        raise DataError(
            f"{place}: the header is missing, the line begins with {column!r}; "
            f"{_HEADER}"
        )
    if not classes:
        raise DataError(f"{place}: the header names no class; {_HEADER}")
    for column_number, name in enumerate(classes, start=2):
        if not name:
            raise DataError(
                f"{place}: column {column_number} has no class name; {_HEADER}"
            )
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise DataError(
            f"{place}: {shortened(twice)} is the name of more than one column; give "
            "every class one column"
        )
    return tuple(classes)


def _targets(
    path: Path, number: int, row: Sequence[str], classes: Sequence[str]
) -> list[int]:
    if len(row) != len(classes) + 1:
        raise DataError(
            f"{path}, line {number}: {len(row)} values where the header has "
            f"{len(classes) + 1}; {_ROW}"
        )
    for name, label in zip(classes, row[1:], strict=True):
        if label not in LABELS:
            raise DataError(
                f"{path}, line {number}: the label {label!r} of class {name} is none "
                f"of 1, 0 and -1; {_ROW}"
            )
    return [LABELS[label] for label in row[1:]]


def _check_path(path: Path, number: int, image: str, lines: dict[str, int]) -> None:
    place = f"{path}, line {number}"
    if not image:
        raise DataError(f"{place}: the path of the image is empty; {_ROW}")
    if "\0" in image:
        raise DataError(f"{place}: the path {image!r} has a zero byte; {_ROW}")
    if image.startswith("/"):
        raise DataError(
            f"{place}: the path {image!r} is absolute; write it relative to the folder "
            f"of {path.name}"
        )
    if ".." in image.split("/"):
        raise DataError(
            f"{place}: the path {image!r} leaves the folder with '..'; move the image "
            f"below the folder of {path.name}"
        )
    plain = posixpath.normpath(image)
    if plain in lines:
        raise DataError(
            f"{place}: the image {image!r} stands in line {lines[plain]} already; "
            "remove one of the two lines"
        )
    lines[plain] = number


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and values of every row that is not blank."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}; {_HEADER}"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8; save "
            "the file in UTF-8"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            values = [value.strip() for value in row]
            if any(values):
                yield reader.line_num, values
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}; write it as comma-separated "
            "values, with quotes around a value that has a comma"
        ) from error
