"""Lists of images with labels: a line reads ``wnid/file.JPEG label``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data.image_list import PathList
from ssl_bench.errors import DataError

Targets = NDArray[np.int64]
"""(N,) labels."""

_LARGEST_LABEL = 10_000_000


def read_list(
    path: Path, prefix: str, *, unless_there: bool = False
) -> tuple[PathList, Targets]:
    """Read a list; every line is split at its last space.

    Args:
        path: the list, in UTF-8; blank lines are passed over.
        prefix: put before every path, such as ``train/``.
        unless_there: leave paths that begin with ``prefix`` as they are.

    Returns:
        N prefixed paths in the order of the list, and (N,) labels.

    Raises:
        DataError: with file and line number, for a line without a label, a label that
            is not a whole number from 0, and a path that leaves the folder; for an
            empty or unreadable list.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    paths: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, _, label = line.rstrip().rpartition(" ")
        complaint = _complaint(name.rstrip(), label)
        if complaint:
            raise DataError(
                f"{path}, line {number}: {complaint}; a line reads 'folder/file.JPEG "
                "label' with a path below the images' folder and a label from 0"
            )
        whole = unless_there and name.startswith(prefix)
        paths.append(name.rstrip() if whole else prefix + name.rstrip())
        labels.append(int(label))
    if not paths:
        raise DataError(f"{path} lists no image; a line reads 'folder/file.JPEG label'")
    return PathList(paths), np.array(labels, dtype=np.int64)


def folder_names(
    samples: PathList, targets: Targets, count: int, prefix: str
) -> tuple[str, ...]:
    """Name each label after the folder of its first image.

    Args:
        samples: N paths.
        targets: (N,) labels.
        count: of the labels.
        prefix: of the paths, which is no part of a name.

    Returns:
        ``count`` names; numbers for labels without an image or a folder, and for all
        where two labels share a folder.
    """
    names: dict[int, str] = {}
    for label, index in zip(*np.unique(targets, return_index=True), strict=True):
        folder = samples[int(index)].removeprefix(prefix).rpartition("/")[0]
        if folder:
            names[int(label)] = folder
    if len(set(names.values())) < len(names):
        names = {}
    return tuple(names.get(label, str(label)) for label in range(count))


def path_complaint(name: str) -> str:
    """Say why a path is none below a folder, or return an empty text."""
    if name.startswith("/"):
        return f"the path {name!r} is absolute"
    if ".." in name and ".." in name.split("/"):
        return f"the path {name!r} leaves the folder with '..'"
    return ""


def _complaint(name: str, label: str) -> str:
    if not name:
        return f"{label!r} has no label"
    if not (label.isascii() and label.isdigit()):
        if label[:1] == "-" and label[1:].isdigit():
            return f"the label {label} is negative"
        return f"the label {label!r} is not a whole number"
    if int(label) > _LARGEST_LABEL:
        return f"the label {label} is beyond any number of classes"
    return path_complaint(name)
