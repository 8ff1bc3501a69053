"""What every data set is here: a list of images with their labels, and its identity.

Letters: N images, C classes.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from ssl_bench.data import roots
from ssl_bench.data.images import read_rgb
from ssl_bench.errors import ConfigError, DataError, unknown

T = TypeVar("T")

_CHUNK = 4096
_THREADS = 8


class PathList(Sequence[str]):
    """Keep many relative paths in one block of memory.

    A list of a million strings is copied page by page into every worker process as
    their reference counts change; one block is shared.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        encoded = [os.fsencode(path) for path in paths]
        self._blob = b"".join(encoded)
        self._ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends.tolist():
            yield os.fsdecode(self._blob[start:end])
            start = end

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> PathList: ...
    def __getitem__(self, index: int | slice) -> str | PathList:
        if isinstance(index, slice):
            return PathList(self[i] for i in range(*index.indices(len(self))))
        position = range(len(self))[index]
        start = int(self._ends[position - 1]) if position else 0
        return os.fsdecode(self._blob[start : int(self._ends[position])])


class ImageDataset(Dataset[tuple[Image.Image, Any, int]]):
    """Hold one split of one data set: map style, (PIL RGB, target, index) an item.

    A data set derives from this class, is registered in
    `ssl_bench.registry.DATASETS` under its name, sets the class attributes and fills
    the instance's in ``__init__(root, split, **options)``.

    Attributes:
        name: what the user calls it.
        splits: the split that is searched (bank, training) and the one reported on.
        transform_name: the named transform of `ssl_bench.data.transforms` with which it
            is evaluated.
        folders: where it is looked for below the data root.
        layout: the files it expects, for the message when they are not there.
        bundled: whether it comes with this package, which keeps it out of tables of
            real models.
        own: whether it is data of the user's, so that its name alone names nothing.
        several: the class that reads the same data with several labels an image, where
            this one reads a single label; protocols for several labels take it.
        root: the folder that ``samples`` are relative to.
        split: one of ``splits``.
        classes: names, by label.
        targets: (N,) int64, or (N, C) int8 with 1 / 0 / -1 for several labels an image.
        samples: N paths relative to ``root``, in the order of the indices.
    """

    name: ClassVar[str]
    splits: ClassVar[tuple[str, str]] = ("train", "val")
    transform_name: ClassVar[str] = "imagenet"
    folders: ClassVar[tuple[str, ...]]
    layout: ClassVar[str]
    bundled: bool = False
    own: ClassVar[bool] = False
    several: ClassVar[type[ImageDataset] | None] = None

    root: Path
    split: str
    classes: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.int8]
    samples: Sequence[str]

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether ``folder`` looks like this data set, complete or not."""
        return (folder / cls.splits[0]).is_dir() or (folder / cls.splits[1]).is_dir()

    @classmethod
    def find(cls, data_root: Path | None) -> Path:
        """Return the folder of this data set without changing anything on disk.

        Raises:
            DataError: with the places that were looked at and the line to type.
        """
        return roots.find(cls.name, cls.folders, data_root, cls.recognises, cls.layout)

    @classmethod
    def open(cls, split: str, data_root: Path | None, **options: Any) -> Self:
        """Find the data set and open one split of it.

        Args:
            split: one of ``splits``.
            data_root: the folder of the data set or the one above it; None looks in
                ``$SSL_BENCH_DATA`` and ``./data``.
            options: further arguments of the class.

        Raises:
            ConfigError: for an option that the class does not take.
            DataError: when it is not there, or is incomplete.
        """
        cls.check_options(split, options)
        return cls(cls.find(data_root), split, **options)  # type: ignore[call-arg]

    @classmethod
    def check_options(cls, split: str, options: Iterable[str]) -> None:
        """Refuse a split or an option that this class does not have.

        Raises:
            ConfigError: with the nearest names.
            DataError: for the split.
        """
        if split not in cls.splits:
            raise DataError(unknown(f"split of data set {cls.name}", split, cls.splits))
        known = [p for p in inspect.signature(cls).parameters if p not in _GIVEN]
        wrong = [
            unknown(f"option of data set {cls.name}", option, known)
            for option in options
            if option not in known
        ]
        if wrong:
            raise ConfigError(wrong)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any, int]:
        target = self.targets[index]
        if self.targets.ndim == 1:
            target = int(target)
        return self.image(index), target, index

    def image(self, index: int) -> Image.Image:
        """Return one image in RGB.

        Raises:
            DataError: naming the file, when it cannot be read.
        """
        return read_rgb(self.root / self.samples[index])

    def fingerprint(self, contents: bool = False) -> str:
        """Return what this split is, as 64 hex digits, wherever it lies.

        It is the sha256 over the sorted lines (relative path, size in bytes, label).

        Args:
            contents: hash the bytes of every file as well, which reads all of them.

        Raises:
            DataError: when listed files are missing, with their number and names.
        """
        sizes = self._mapped(self._sizes)
        if lost := [i for i, size in enumerate(sizes) if size is None]:
            raise DataError(self._missing(lost))
        marks = [str(size) for size in sizes]
        if contents:
            digests = self._mapped(self._digests)
            marks = [f"{m}\0{d}" for m, d in zip(marks, digests, strict=True)]
        labels = _label_texts(self.targets)
        lines = sorted(
            os.fsencode(path) + f"\0{mark}\0{label}\n".encode()
            for path, mark, label in zip(self.samples, marks, labels, strict=True)
        )
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def missing(self) -> list[int]:
        """Return the indices of the listed images that are not there."""
        sizes = self._mapped(self._sizes)
        return [index for index, size in enumerate(sizes) if size is None]

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """Return a data set of these images only, in this order."""
        chosen = np.asarray(indices, dtype=np.int64)
        part = copy.copy(self)
        part.samples = PathList(self.samples[i] for i in chosen.tolist())
        part.targets = self.targets[chosen]
        return part

    def subset(self, limit: int, seed: int) -> Self:
        """Draw at most ``limit`` images, as evenly over the classes as they allow.

        Every class gives its n-th image before any class gives its (n+1)-th; which
        images and which classes come first is drawn from ``seed``. An image of several
        labels counts for its rarest one. The order of the data set is kept.

        Args:
            limit: number of images, from 1.
            seed: from 0 to 2**32 - 1.

        Raises:
            DataError: for a limit below 1.
        """
        if limit < 1:
            raise DataError(f"a limit of {limit} images leaves nothing; use 1 or more")
        if limit >= len(self):
            return self.select(range(len(self)))
        return self.select(_balanced(_single_labels(self.targets), limit, seed))

    def _sizes(self, indices: Sequence[int]) -> list[int | None]:
        """Return sizes in bytes, None for what is missing; called from threads."""
        root = str(self.root)
        sizes: list[int | None] = []
        for index in indices:
            try:
                sizes.append(os.stat(f"{root}/{self.samples[index]}").st_size)  # noqa: PTH116
            except OSError:
                sizes.append(None)
        return sizes

    def _digests(self, indices: Sequence[int]) -> list[str]:
        """Return the sha256 of the bytes of every image; called from threads."""
        return [_file_digest(self.root / self.samples[index]) for index in indices]

    def _mapped(self, measure: Callable[[Sequence[int]], list[T]]) -> list[T]:
        """Run ``measure`` over all indices; on network disks many at once wait less."""
        numbers = range(len(self))
        chunks = [numbers[i : i + _CHUNK] for i in range(0, len(self), _CHUNK)]
        with ThreadPoolExecutor(_THREADS) as pool:
            return [value for part in pool.map(measure, chunks) for value in part]

    def _missing(self, lost: Sequence[int]) -> str:
        names = ", ".join(self.samples[i] for i in lost[:3])
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        return (
            f"{len(lost)} of the {len(self)} images of data set {self.name} "
            f"({self.split}) are missing below {self.root}: {names}{more}; restore "
            "them, or correct the list"
        )


def check_pair(train: ImageDataset, val: ImageDataset) -> None:
    """Refuse two splits of which the second has classes that the first has not.

    Raises:
        DataError: with the names of those classes.
    """
    here, there = _present(train.targets), _present(val.targets)
    if only := sorted(there - here):
        names = val.classes
        texts = [names[c] if c < len(names) else str(c) for c in only]
        raise DataError(
            f"data set {val.name}: {len(only)} classes are only in {val.split}, not in "
            f"{train.split}: {shortened(texts)}; give {train.split} images of them, or "
            f"remove them from {val.split}"
        )


def shortened(texts: Sequence[str], count: int = 10) -> str:
    """Join texts for a message, the first ``count`` of them."""
    rest = f" and {len(texts) - count} more" if len(texts) > count else ""
    return ", ".join(texts[:count]) + rest


_GIVEN = ("root", "split")


def _present(targets: NDArray[Any]) -> set[int]:
    if targets.ndim == 1:
        return set(np.unique(targets).tolist())
    return set(np.flatnonzero((targets == 1).any(axis=0)).tolist())


def _label_texts(targets: NDArray[Any]) -> Iterable[str]:
    if targets.ndim == 1:
        return map(str, targets.tolist())
    return (",".join(map(str, row)) for row in targets.tolist())


def _single_labels(targets: NDArray[Any]) -> NDArray[np.int64]:
    if targets.ndim == 1:
        return targets.astype(np.int64)
    positive_NC = targets == 1
    rarity_C = positive_NC.sum(axis=0)
    cost_NC = np.where(positive_NC, rarity_C, np.iinfo(np.int64).max)
    labels_N = cost_NC.argmin(axis=1)
    labels_N[~positive_NC.any(axis=1)] = targets.shape[1]  # images of no class at all
    return np.asarray(labels_N, dtype=np.int64)


def _balanced(labels_N: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    # RandomState and not a Generator: numpy promises the same stream for ever (NEP 19).
    draw = np.random.RandomState(seed)
    order_N = draw.permutation(len(labels_N))
    classes, class_N = np.unique(labels_N[order_N], return_inverse=True)
    turn_C = draw.permutation(len(classes))
    by_class_N = np.argsort(class_N, kind="stable")
    counts_C = np.bincount(class_N)
    starts_C = np.cumsum(counts_C) - counts_C
    rank_N = np.empty(len(labels_N), dtype=np.int64)
    rank_N[by_class_N] = np.arange(len(labels_N)) - np.repeat(starts_C, counts_C)
    taken_N = order_N[np.lexsort((turn_C[class_N], rank_N))[:limit]]
    result: NDArray[np.int64] = np.sort(taken_N).astype(np.int64)
    return result


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
