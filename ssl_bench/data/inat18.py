"""iNaturalist 2018: 460,000 photographs of 8,142 species.

Source: Van Horn et al. 2018, https://github.com/visipedia/inat_comp, folder 2018:
    train_val2018.tar.gz, train2018.json.tar.gz and val2018.json.tar.gz; lists as
    MMSelfSup 0.x makes them of the latter two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_bench.data.image_list import ImageDataset, PathList, shortened
from ssl_bench.data.list_file import Targets, folder_names, path_complaint, read_list
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

DATASET = "inat18"
CLASSES = 8142
IMAGES = "train_val2018/"


@DATASETS.register_module(name=DATASET)
class INat18(ImageDataset):
    """Read the lists in ``meta/``, or the distributed annotations without them.

    Args:
        root: the folder of the images and the lists or annotations.
        split: ``train`` or ``val``.
    """

    name = DATASET
    folders = ("iNaturalist2018", "inaturalist2018", "inat18")
    layout = (
        f"{IMAGES} with train2018.json and val2018.json, or with meta/train.txt and "
        "meta/val.txt ('Aves/2761/1.jpg 0' a line)"
    )

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.samples, self.targets = self._read(split)
        samples, targets = self.samples, self.targets
        if split != "train" and self.source_of(root, "train").is_file():
            samples, targets = self._read("train")
        count = int(max(self.targets.max(), targets.max())) + 1
        self.classes = folder_names(samples, targets, count, IMAGES)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether there are the images or an annotation file."""
        return (folder / IMAGES).is_dir() or any(
            (folder / f"{split}2018.json").is_file() for split in cls.splits
        )

    @staticmethod
    def source_of(root: Path, split: str) -> Path:
        """Return the list or the annotations of a split, there or not."""
        listed = root / "meta" / f"{split}.txt"
        annotated = root / f"{split}2018.json"
        return annotated if annotated.is_file() and not listed.is_file() else listed

    def _read(self, split: str) -> tuple[PathList, Targets]:
        path = self.source_of(self.root, split)
        if not path.is_file():
            raise DataError(
                f"data set {self.name} in {self.root} has neither meta/{split}.txt nor "
                f"{split}2018.json; expected layout: {self.layout}"
            )
        if path.suffix == ".json":
            samples, targets = read_annotations(path)
        else:
            samples, targets = read_list(path, IMAGES, unless_there=True)
        if targets.max() >= CLASSES:
            raise DataError(
                f"{path} has the label {targets.max()}, and the {CLASSES} classes of "
                f"data set {self.name} are counted from 0 to {CLASSES - 1}; take the "
                "file that belongs to it"
            )
        return samples, targets


def read_annotations(path: Path) -> tuple[PathList, Targets]:
    """Join images and annotations of an official file by the image's id.

    Args:
        path: ``train2018.json`` or ``val2018.json``.

    Returns:
        N paths in the order of the file's images, and (N,) labels.

    Raises:
        DataError: when the file cannot be read, is of another form, or its images and
            annotations do not fit together.
    """
    content = _content(path)
    label_of: dict[Any, int] = {}
    for annotation in _entries(path, content, "annotations"):
        image, label = (
            _field(path, annotation, key, int) for key in ("image_id", "category_id")
        )
        if not 0 <= label < CLASSES:
            raise DataError(
                f"{path}: the category_id {label} is not between 0 and {CLASSES - 1}; "
                f"it should be {path.name} as it is distributed"
            )
        if label_of.setdefault(image, label) != label:
            raise DataError(
                f"{path}: image {image} is of category {label_of[image]} and of "
                f"{label}; every image has one"
            )
    paths: list[str] = []
    labels: list[int] = []
    bare: list[str] = []
    for image in _entries(path, content, "images"):
        name = _field(path, image, "file_name", str)
        if complaint := path_complaint(name):
            raise DataError(f"{path}: {complaint}; it is to be below {IMAGES}")
        number = label_of.pop(_field(path, image, "id", int), None)
        if number is None:
            bare.append(name)
            continue
        paths.append(name if name.startswith(IMAGES) else IMAGES + name)
        labels.append(number)
    _refuse(path, bare, "images have no annotation")
    _refuse(path, [str(i) for i in label_of], "annotations are of images that it lacks")
    if not paths:
        raise DataError(f"{path} has no image; get the file again")
    return PathList(paths), np.array(labels, dtype=np.int64)


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no JSON, or not all of it: {error}; get the file again"
        ) from error


def _entries(path: Path, content: Any, key: str) -> list[Any]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise DataError(
            f"{path} has no list of {key}; it should be train2018.json or "
            "val2018.json as they are distributed"
        )
    return found


def _field(path: Path, entry: Any, key: str, kind: type[Any]) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(
            f"{path}: {key!r} of an entry is {value!r}, and should be "
            f"{'a whole number' if kind is int else 'a text'}"
        )
    return value


def _refuse(path: Path, names: Sequence[str], what: str) -> None:
    if names:
        raise DataError(
            f"{path}: {len(names)} {what}: {shortened(names, 3)}; get the file again"
        )
