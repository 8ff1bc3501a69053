"""What a data set with boxes, masks or label maps is here: files, classes, an identity.

The pixels are read by OpenMMLab's own data sets. What is here says which files there
are, what is wrong with them, and whether two copies are the same data.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar

from ssl_bench.data import scenes
from ssl_bench.data.image_list import shortened
from ssl_bench.errors import DataError

S = TypeVar("S")
T = TypeVar("T")

_THREADS = 8
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class DenseSplit:
    """Hold one split of a data set with boxes, masks or label maps.

    Attributes:
        name: of the data set.
        split: what the data set calls it.
        root: the folder of the data set.
        classes: names, by label.
        bundled: whether it comes with this package, which keeps it out of tables of
            real models.
        own: whether it is data of the user's, so that its name alone names nothing.
        limit: at most so many images, the first ones.
    """

    name: str
    split: str
    root: Path
    classes: tuple[str, ...]
    bundled: bool = False
    own: bool = False
    limit: int | None = None

    def __len__(self) -> int:
        return len(self.image_files())

    def image_files(self) -> Sequence[Path]:
        """Return the images, after the limit, in the order of the list."""
        raise NotImplementedError

    def label_files(self) -> Sequence[Path]:
        """Return the files that hold the labels of these images."""
        raise NotImplementedError

    def problems(self) -> list[str]:
        """Return a sentence for every sort of problem, with its count and the first."""
        raise NotImplementedError

    def facts(self) -> dict[str, object]:
        """Return what decides besides files and classes what a label means."""
        return {}

    def limited(self, limit: int) -> Self:
        """Return the first ``limit`` images only.

        Raises:
            DataError: for a limit below 1.
        """
        if limit < 1:
            raise DataError(f"a limit of {limit} images leaves nothing; use 1 or more")
        known = limit if self.limit is None else min(limit, self.limit)
        return dataclasses.replace(self, limit=known)

    def fingerprint(self, contents: bool = False) -> str:
        """Return what this split is, as 64 hex digits, wherever it lies.

        It is the sha256 over the sorted lines of images (relative path, size in bytes)
        and of label files (relative path, sha256), the classes and the count.

        Args:
            contents: hash the bytes of every image as well, which reads all of them.

        Raises:
            DataError: when listed files are missing, with their number and names.
        """
        return self._digest(True) if contents else self._fingerprint

    def contents(self) -> str:
        """Return the fingerprint over the bytes of every file."""
        return self.fingerprint(contents=True)

    @functools.cached_property
    def _fingerprint(self) -> str:
        return self._digest(False)

    def _digest(self, contents: bool) -> str:
        images, labels = self.image_files(), self.label_files()
        sizes = mapped(_size, images)
        lost = [path for path, size in zip(images, sizes, strict=True) if size is None]
        lost += [path for path in labels if not path.is_file()]
        if lost:
            raise DataError(
                f"{len(lost)} files of data set {self.name} ({self.split}) are missing "
                f"below {self.root}: {shortened([self.below(p) for p in lost], 3)}; "
                "restore them, or correct the list"
            )
        marks = [str(size) for size in sizes]
        if contents:
            bodies = mapped(_body, images)
            marks = [f"{m}\0{b}" for m, b in zip(marks, bodies, strict=True)]
        marks += mapped(_body, labels)
        lines = sorted(
            os.fsencode(self.below(path)) + f"\0{mark}\n".encode()
            for path, mark in zip([*images, *labels], marks, strict=True)
        )
        rest = {"classes": self.classes, "images": len(images), **self.facts()}
        lines.append(json.dumps(rest, sort_keys=True).encode())
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def below(self, path: Path) -> str:
        """Return a path relative to the data set's folder."""
        return path.relative_to(self.root).as_posix()


def first_of(items: Sequence[T], limit: int | None) -> Sequence[T]:
    """Return at most ``limit`` items."""
    return items if limit is None else items[:limit]


def is_bundled(root: Path) -> bool:
    """Return whether a folder holds the bundled scenes, under whatever name."""
    places = (root, root.resolve().parent)
    return any((folder / scenes.MANIFEST).is_file() for folder in places)


def mapped(measure: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Run ``measure`` over all items; on network disks many at once wait less."""
    chunks = [items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = pool.map(lambda chunk: [measure(item) for item in chunk], chunks)
        return [value for part in parts for value in part]


def absent(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the names that are no files below a folder, listing each folder once."""
    there: dict[str, set[str]] = {}
    lost: list[str] = []
    for name in names:
        above, _, last = name.rpartition("/")
        if above not in there:
            there[above] = _listed(folder / above)
        if last not in there[above]:
            lost.append(name)
    return lost


def check_inside(name: object, place: str) -> str:
    """Return a path that a foreign file names, or refuse one that leaves its folder.

    Args:
        name: what the file says.
        place: where it says so, for the message.

    Raises:
        DataError: for a name that is absolute, climbs with ``..``, or is none.
    """
    if (
        not isinstance(name, str)
        or not name.strip()
        or any(sign in name for sign in "\\\0\n")
        or name[1:2] == ":"
        or PurePosixPath(name).is_absolute()
        or ".." in PurePosixPath(name).parts
    ):
        raise DataError(
            f"{place} names the file {name!r}; a name is a relative path below the "
            "images' folder, without '..' and backslashes: correct it"
        )
    return PurePosixPath(name).as_posix()


def read_ids(path: Path, advice: str) -> list[str]:
    """Read a list of images, one id a line.

    Args:
        path: the list, in UTF-8; blank lines are passed over.
        advice: what to do where it cannot be used.

    Raises:
        DataError: with the line, for an id that is a path, has a space, or stands there
            twice; for an empty or unreadable list.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}; {advice}"
        ) from error
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        name = line.strip()
        if not name:
            continue
        check_inside(name, f"{path}, line {number},")
        if complaint := _id_complaint(name, seen):
            raise DataError(
                f"{path}, line {number}: {complaint}; a line is the id of one image, "
                "the name of its file without the ending, each image once"
            )
        seen[name] = number
    if not seen:
        raise DataError(f"{path} lists no image; {advice}")
    return list(seen)


def _id_complaint(name: str, seen: Mapping[str, int]) -> str:
    if len(name.split()) > 1:
        return f"{name!r} has a space"
    if "/" in name:
        return f"the id {name!r} has a path separator"
    if name in seen:
        return f"the image {name} stands in line {seen[name]} already"
    return ""


def problem(
    place: object, count: int, total: int, what: str, first: str, advice: str
) -> list[str]:
    """Return one sentence for one sort of problem, none where it does not occur."""
    if not count:
        return []
    return [f"{place}: {count} of {total} {what}, first {first}; {advice}"]


def twice(items: Iterable[T]) -> list[T]:
    """Return the items that were there before, in their order."""
    seen: set[T] = set()
    again: list[T] = []
    for item in items:
        if item in seen:
            again.append(item)
        seen.add(item)
    return again


def _listed(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _body(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
