"""CIFAR-10 and CIFAR-100 share their format: pickled batches of 32 x 32 RGB pixels.

Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, in the files
that torchvision keeps. Letters: N images of 3 x 32 x 32 = 3072 bytes: R, G, B.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data.image_list import ImageDataset, PathList
from ssl_bench.data.safe_pickle import read_pickle
from ssl_bench.errors import DataError

SIDE = 32
RECORD = 3 * SIDE * SIDE


class Cifar(ImageDataset):
    """Read pickled batches; a sample is named ``test_batch/17``."""

    transform_name = "small"
    batches_folder: ClassVar[str]
    batches: ClassVar[Mapping[str, tuple[str, ...]]]
    labels_key: ClassVar[str]
    meta_file: ClassVar[str]
    names_key: ClassVar[str]

    def __init__(self, root: Path, split: str) -> None:
        inner = root / self.batches_folder
        self.root = inner if inner.is_dir() else root
        self.split = split
        self._check_files()
        self.classes = self._read_names()
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        labels: list[NDArray[np.int64]] = []
        samples: list[str] = []
        for batch in self.batches[split]:
            self._pixels[batch], found = self._read_batch(self.root / batch)
            labels.append(found)
            samples += (f"{batch}/{row}" for row in range(len(found)))
        self.targets = np.concatenate(labels)
        self.samples = PathList(samples)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether the batches, or the folder of the batches, lie here."""
        files = (name for names in cls.batches.values() for name in names)
        return (folder / cls.batches_folder).is_dir() or (
            (folder / cls.meta_file).is_file()
            and any((folder / name).is_file() for name in files)
        )

    def image(self, index: int) -> Image.Image:
        """Return one image in RGB, 32 x 32."""
        pixels_HWC = self._record(index).reshape(3, SIDE, SIDE).transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(pixels_HWC))

    def _record(self, index: int) -> NDArray[np.uint8]:
        batch, _, row = self.samples[index].rpartition("/")
        record: NDArray[np.uint8] = self._pixels[batch][int(row)]
        return record

    def _sizes(self, indices: Sequence[int]) -> list[int | None]:
        """Return a check sum of each image: all of one size, they lie in memory."""
        return [zlib.crc32(self._record(i).tobytes()) for i in indices]

    def _digests(self, indices: Sequence[int]) -> list[str]:
        return [hashlib.sha256(self._record(i).tobytes()).hexdigest() for i in indices]

    def _check_files(self) -> None:
        wanted = [self.meta_file, *self.batches[self.split]]
        if lost := [name for name in wanted if not (self.root / name).is_file()]:
            raise DataError(
                f"data set {self.name} in {self.root} lacks {', '.join(lost)}; "
                f"expected layout: {self.layout}"
            )

    def _read_names(self) -> tuple[str, ...]:
        path = self.root / self.meta_file
        names = _entry(path, read_pickle(path), self.names_key)
        if not isinstance(names, list | tuple) or not names:
            raise DataError(f"{path}: {self.names_key!r} is not a list of class names")
        return tuple(str(name) for name in names)

    def _read_batch(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        batch = read_pickle(path)
        data = _entry(path, batch, "data")
        shape = getattr(data, "shape", None)
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.ndim != 2
            or data.shape[1] != RECORD
            or not len(data)
        ):
            raise DataError(
                f"{path}: 'data' is {type(data).__name__} of shape {shape} and type "
                f"{getattr(data, 'dtype', None)}; expected N x {RECORD} of type uint8"
            )
        return data, self._labels(path, batch, len(data))

    def _labels(self, path: Path, batch: Any, count: int) -> NDArray[np.int64]:
        labels = _entry(path, batch, self.labels_key)
        try:
            found = np.asarray(labels)
        except ValueError:
            found = np.empty(0)
        classes = len(self.classes)
        if (
            found.shape != (count,)
            or found.dtype.kind not in "iu"
            or found.min() < 0
            or found.max() >= classes
        ):
            raise DataError(
                f"{path}: {self.labels_key!r} is not a list of {count} labels from 0 "
                f"to {classes - 1}"
            )
        return found.astype(np.int64)


def _entry(path: Path, content: Any, key: str) -> Any:
    """Take an entry by its name, which may have been pickled as text or as bytes."""
    if isinstance(content, dict):
        for name in (key, key.encode()):
            if name in content:
                return content[name]
    raise DataError(f"{path} has no entry {key!r}; it is not a file of the data set")
