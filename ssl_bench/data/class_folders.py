"""Images sorted into one folder a class, as torchvision's ``ImageFolder``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data.image_list import PathList, shortened
from ssl_bench.data.images import EXTENSIONS, is_image_name
from ssl_bench.errors import DataError


@dataclass(frozen=True)
class Scan:
    """Hold what lies in the class folders of one split."""

    samples: PathList
    targets: NDArray[np.int64]


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the class folders of a split, sorted; hidden ones do not count.

    Raises:
        DataError: when there is none; images without a class folder are named.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(e.name, e.is_dir()) for e in entries if e.name[0] != "."]
    except OSError as error:
        raise DataError(
            f"cannot list the class folders in {folder}: {error.strerror or error}"
        ) from error
    classes = tuple(sorted(name for name, is_folder in found if is_folder))
    if not classes:
        loose = sorted(
            n for n, is_folder in found if not is_folder and is_image_name(n)
        )
        what = (
            f"{len(loose)} images without a label, {loose[0]} first"
            if loose
            else "empty"
        )
        raise DataError(
            f"{folder} has no class folders ({what}); put the images of each class "
            f"into a folder of its own: {folder.name}/<class>/*.jpg"
        )
    return classes


def scan(root: Path, split_folder: str, classes: Sequence[str]) -> Scan:
    """List the images of one split, labelled by the position of their class.

    The order is that of torchvision's ``ImageFolder``: classes, then folders, then
    files by name. Folders inside a class folder belong to the class.

    Args:
        root: the folder of the data set.
        split_folder: the folder of the split below it.
        classes: all classes of the data set, that is those of its training split.

    Raises:
        DataError: for a class that is not in ``classes``, for class folders without an
            image.
    """
    folder = root / split_folder
    here = class_names(folder)
    if strange := sorted(set(here) - set(classes)):
        raise DataError(
            f"{folder} has {len(strange)} classes that the training images have not: "
            f"{shortened(strange)}; give train/ a folder of the same name with images, "
            f"or remove them from {split_folder}/"
        )
    label_of = {name: label for label, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    empty: list[str] = []
    for name in here:
        before = len(paths)
        paths += (f"{split_folder}/{name}/{p}" for p in _images(folder / name))
        labels += [label_of[name]] * (len(paths) - before)
        if len(paths) == before:
            empty.append(name)
    if empty:
        raise DataError(
            f"{folder} has {len(empty)} class folders without an image: "
            f"{shortened(empty)}; fill or remove them (an image ends in "
            f"{', '.join(sorted(EXTENSIONS))})"
        )
    return Scan(PathList(paths), np.array(labels, dtype=np.int64))


def _images(folder: Path) -> list[str]:
    folders = sorted(_walk(folder, "", frozenset()))
    return [f"{prefix}{name}" for prefix, names in folders for name in sorted(names)]


def _walk(
    folder: Path, prefix: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, list[str]]]:
    status = folder.stat()
    me = (status.st_dev, status.st_ino)
    if me in above:  # a symbolic link to one of its own parents
        return
    names, deeper = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name[0] == ".":
                    continue
                if entry.is_dir():
                    deeper.append(entry.name)
                elif is_image_name(entry.name):
                    names.append(entry.name)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from error
    yield prefix, names
    for name in deeper:
        yield from _walk(folder / name, f"{prefix}{name}/", above | {me})
