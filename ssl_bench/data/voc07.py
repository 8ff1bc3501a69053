"""PASCAL VOC 2007 as it is distributed: several of 20 classes an image.

Source: the lists of the VOC 2007 development kit, ``ImageSets/Main``. A class file
holds 1 (there), -1 (not there) or 0 (only difficult objects of this class). Targets are
1, 0 and -1 in this order, as in MMSelfSup and FAIR's benchmark: -1 is what an
evaluation leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data import scenes
from ssl_bench.data.image_list import ImageDataset, PathList, shortened
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

DATASET = "voc07"

YEAR = "VOC2007"
TARGET_OF = {"1": 1, "-1": 0, "0": -1}
"""The target that a value in a class file stands for."""


@dataclass(frozen=True)
class Figures:
    """What a complete copy holds, as far as it is known.

    Attributes:
        images: by split.
        positives: images of a class, by split and class.
        ignored: entries of a class and an image that are left out, by split.
    """

    images: Mapping[str, int]
    positives: Mapping[str, Mapping[str, int]]
    ignored: Mapping[str, int]


# Source: the development kit's table of images, and the targets that FAIR's benchmark
# makes of the lists of the test split.
KNOWN = Figures(
    images={"trainval": 5011, "test": 4952},
    positives={
        "trainval": {"sheep": 96},
        "test": {
            "aeroplane": 204,
            "bicycle": 239,
            "bird": 282,
            "boat": 172,
            "bottle": 212,
            "bus": 174,
            "car": 721,
            "cat": 322,
            "chair": 417,
            "cow": 127,
            "diningtable": 190,
            "dog": 418,
            "horse": 274,
            "motorbike": 222,
            "person": 2007,
            "pottedplant": 224,
            "sheep": 97,
            "sofa": 223,
            "train": 259,
            "tvmonitor": 229,
        },
    },
    ignored={"test": 619},
)


@DATASETS.register_module(name=DATASET)
class Voc07(ImageDataset):
    """Read ``trainval`` or ``test`` with the labels of ``ImageSets/Main``.

    The classes are those of the ``<class>_trainval.txt`` there, in alphabetical order.
    """

    name = DATASET
    splits = ("trainval", "test")
    folders: ClassVar[tuple[str, ...]] = ("VOCdevkit", YEAR)
    layout = (
        "VOC2007/JPEGImages/<id>.jpg, VOC2007/ImageSets/Main/{trainval,test}.txt and "
        "<class>_{trainval,test}.txt"
    )
    transform_name = "squash"

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        # The bundled scenes are no VOC, under whatever name they are opened.
        self.bundled = self.bundled or any(
            (folder / scenes.MANIFEST).is_file()
            for folder in (root, root.resolve().parent)
        )
        lists = root / "ImageSets" / "Main"
        self.classes = _class_names(lists, split)
        ids = _read_ids(lists / f"{split}.txt")
        self.samples = PathList(f"JPEGImages/{name}.jpg" for name in ids)
        columns = [_read_targets(lists, c, split, ids) for c in self.classes]
        self.targets = np.stack(columns, axis=1)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether this is ``VOC2007`` or the folder above it."""
        return any(
            (place / name).is_dir()
            for place in (folder, folder / YEAR)
            for name in ("ImageSets", "JPEGImages")
        )

    @classmethod
    def find(cls, data_root: Path | None) -> Path:
        """Return the folder ``VOC2007``; its parents are taken as well.

        Raises:
            DataError: with the places that were looked at and the line to type.
        """
        found = super().find(data_root)
        return found / YEAR if (found / YEAR).is_dir() else found


def _class_names(lists: Path, split: str) -> tuple[str, ...]:
    try:
        files = [path.name for path in lists.iterdir()]
    except OSError as error:
        raise DataError(
            f"cannot list {lists}: {error.strerror or error}; {_RESTORE}"
        ) from error
    classes, here = _classes_of(files, "trainval"), _classes_of(files, split)
    if not classes:
        raise DataError(f"{lists} has no <class>_trainval.txt; {_RESTORE}")
    for only, part in ((classes - here, split), (here - classes, "trainval")):
        if only:
            names = [f"{name}_{part}.txt" for name in sorted(only)]
            raise DataError(
                f"{lists} lacks {len(names)} of the class files of {part}: "
                f"{shortened(names)}; {_RESTORE}"
            )
    return tuple(sorted(classes))


def _classes_of(files: Sequence[str], split: str) -> set[str]:
    end = f"_{split}.txt"
    names = [f.removesuffix(end) for f in files if f.endswith(end)]
    return {name for name in names if name and not name.startswith(".")}


def _read_ids(path: Path) -> list[str]:
    seen: dict[str, int] = {}
    for number, fields in _lines(path):
        if len(fields) != 1:
            raise DataError(
                f"{path}, line {number}: {' '.join(fields)!r} has {len(fields)} "
                "fields; a line is the id of one image, such as 000005"
            )
        _add(seen, path, number, fields[0])
    if not seen:
        raise DataError(f"{path} lists no image; {_RESTORE}")
    return list(seen)


def _read_targets(
    lists: Path, name: str, split: str, ids: Sequence[str]
) -> NDArray[np.int8]:
    path = lists / f"{name}_{split}.txt"
    seen: dict[str, int] = {}
    targets: dict[str, int] = {}
    for number, fields in _lines(path):
        if len(fields) != 2:
            raise DataError(
                f"{path}, line {number}: {' '.join(fields)!r} has {len(fields)} "
                "fields; a line is an id and a label, such as '000005 -1'"
            )
        _add(seen, path, number, fields[0])
        if fields[1] not in TARGET_OF:
            raise DataError(
                f"{path}, line {number}: the label {fields[1]!r} of image {fields[0]} "
                "is none of 1 (there), -1 (not there) and 0 (difficult); correct it, "
                f"or {_RESTORE}"
            )
        targets[fields[0]] = TARGET_OF[fields[1]]
    listed = set(ids)
    missing = [image for image in ids if image not in targets]
    surplus = [image for image in targets if image not in listed]
    for wrong, what in ((missing, "lacks"), (surplus, "has more than the list:")):
        if wrong:
            raise DataError(
                f"{path} {what} {len(wrong)} images ({shortened(wrong, 3)}); it must "
                f"have exactly those of {split}.txt; {_RESTORE}"
            )
    return np.array([targets[image] for image in ids], dtype=np.int8)


def _add(seen: dict[str, int], path: Path, number: int, image: str) -> None:
    if "/" in image or "\\" in image or "\0" in image:
        raise DataError(
            f"{path}, line {number}: the id {image!r} has a path separator; an id is "
            "the name of a file in JPEGImages/ without .jpg"
        )
    if image in seen:
        raise DataError(
            f"{path}, line {number}: image {image} stands in line {seen[image]} "
            f"already; remove one of the two, or {_RESTORE}"
        )
    seen[image] = number


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of every line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}; {_RESTORE}"
        ) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if fields := line.split():
            yield number, fields


_RESTORE = (
    "restore the lists from the archives (python tools/prepare_voc07.py ROOT says what "
    "is missing)"
)
