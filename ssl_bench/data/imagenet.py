"""ImageNet (ILSVRC 2012) and whatever is laid out like it.

Source: the layout of MMSelfSup 0.x and 1.x, ``imagenet/{meta,train,val}``; lists of
OpenSelfSup (``meta/train_labeled.txt``) are taken where they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data import scenes
from ssl_bench.data.class_folders import class_names, scan
from ssl_bench.data.image_list import ImageDataset, PathList
from ssl_bench.data.list_file import read_list
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

DATASET = "imagenet"


@DATASETS.register_module(name=DATASET)
class ImageNet(ImageDataset):
    """Read the lists in ``meta/``, or the class folders where there is no ``meta/``.

    Args:
        root: the folder with ``train/`` and ``val/``.
        split: ``train`` or ``val``.
        list_file: another list of this split, relative to ``root``, such as
            ``meta/train_1percent.txt``.
    """

    name = DATASET
    folders = ("imagenet",)
    layout = (
        "meta/train.txt ('wnid/file.JPEG label' a line), meta/val.txt ('file.JPEG "
        "label'), train/ and val/; or train/<wnid>/*.JPEG and val/<wnid>/*.JPEG "
        "without meta/"
    )

    def __init__(self, root: Path, split: str, list_file: str | None = None) -> None:
        self.root, self.split = root, split
        # The bundled scenes are no ImageNet, under whatever name they are opened.
        self.bundled = self.bundled or (root / scenes.MANIFEST).is_file()
        if list_file is None and not (root / "meta").is_dir():
            self._read_folders()
        else:
            self._read_lists(root / list_file if list_file else self._list_of(split))

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether there is a ``meta``, ``train`` or ``val`` folder."""
        return any((folder / name).is_dir() for name in ("meta", *cls.splits))

    def _read_folders(self) -> None:
        for split in ("train", self.split):
            if not (self.root / split).is_dir():
                raise DataError(
                    f"data set {self.name} in {self.root} has no {split}/ folder; "
                    f"expected layout: {self.layout}"
                )
        self.classes = class_names(self.root / "train")
        found = scan(self.root, self.split, self.classes)
        self.samples, self.targets = found.samples, found.targets

    def _read_lists(self, path: Path) -> None:
        self.samples, self.targets = read_list(path, f"{self.split}/")
        # Only train paths carry the class; val is a flat folder.
        train_list = self._list_of("train")
        if path == train_list:
            samples, targets = self.samples, self.targets
        elif train_list.is_file():
            samples, targets = read_list(train_list, "train/")
        else:
            samples, targets = PathList([]), np.array([], dtype=np.int64)
        count = int(max(self.targets.max(), targets.max(initial=0))) + 1
        self.classes = _names_by_label(samples, targets, count)

    def _list_of(self, split: str) -> Path:
        labeled = self.root / "meta" / f"{split}_labeled.txt"
        return labeled if labeled.is_file() else self.root / "meta" / f"{split}.txt"


def _names_by_label(
    samples: PathList, targets: NDArray[np.int64], count: int
) -> tuple[str, ...]:
    """Name each label after its folder; by its number where that is not one to one."""
    names: dict[int, str] = {}
    for label, index in zip(*np.unique(targets, return_index=True), strict=True):
        parts = samples[int(index)].split("/")
        if len(parts) > 2:
            names[int(label)] = parts[1]
    if len(set(names.values())) < len(names):
        names = {}
    return tuple(names.get(label, str(label)) for label in range(count))
