"""Write the lists of a data set from what it has instead: folders, annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ssl_bench.data.class_folders import class_names, scan
from ssl_bench.data.inat18 import IMAGES, read_annotations
from ssl_bench.data.list_file import read_list
from ssl_bench.errors import DataError
from ssl_bench.files import atomic_write_text

SPLITS = ("train", "val")


def write_folder_lists(root: Path) -> dict[str, Path]:
    """Write ``meta/train.txt`` and ``meta/val.txt`` where they are missing.

    A label is the place of the class folder among the sorted folders of ``train/``; or,
    where there is a list of ``train`` already, the one that it gives to the folder. A
    split that has images but no class folders is left out: nothing says its labels.

    Args:
        root: the folder with ``train/`` and ``val/``.

    Returns:
        The lists that were written, by split.

    Raises:
        DataError: for class folders that do not fit together, and for a list of
            ``train`` that gives one folder two labels.
        BenchError: where nothing can be written.
    """
    written: dict[str, Path] = {}
    for split in SPLITS:
        path = root / "meta" / f"{split}.txt"
        labeled = path.with_name(f"{split}_labeled.txt")  # OpenSelfSup's
        if path.is_file() or labeled.is_file() or not _has_folders(root / split):
            continue
        if not _has_folders(root / "train"):
            continue
        labels = _labels(root)
        found = scan(root, split, tuple(labels))
        classes = list(labels.values())
        lines = (
            f"{name.removeprefix(f'{split}/')} {classes[target]}\n"
            for name, target in zip(found.samples, found.targets.tolist(), strict=True)
        )
        atomic_write_text(path, "".join(lines))
        written[split] = path
    return written


def write_inat18_lists(root: Path) -> dict[str, Path]:
    """Write ``meta/train.txt`` and ``meta/val.txt`` from the annotations.

    Args:
        root: the folder with ``train2018.json`` and ``val2018.json``.

    Returns:
        The lists that were written, by split; those that are there already are left.

    Raises:
        DataError: for annotations that cannot be read.
        BenchError: where nothing can be written.
    """
    written: dict[str, Path] = {}
    for split in SPLITS:
        path, source = root / "meta" / f"{split}.txt", root / f"{split}2018.json"
        if path.is_file() or not source.is_file():
            continue
        samples, targets = read_annotations(source)
        lines = (
            f"{name.removeprefix(IMAGES)} {label}\n"
            for name, label in zip(samples, targets.tolist(), strict=True)
        )
        atomic_write_text(path, "".join(lines))
        written[split] = path
    return written


def _has_folders(folder: Path) -> bool:
    try:
        return bool(class_names(folder))
    except DataError:
        return False


def _labels(root: Path) -> Mapping[str, int]:
    """Return the label of each class folder of ``train/``, by sorted names."""
    classes = class_names(root / "train")
    for name in ("train_labeled.txt", "train.txt"):
        path = root / "meta" / name
        if path.is_file():
            return _listed_labels(path, classes)
    return {name: label for label, name in enumerate(classes)}


def _listed_labels(path: Path, classes: tuple[str, ...]) -> Mapping[str, int]:
    samples, targets = read_list(path, "")
    found: dict[str, int] = {}
    for sample, label in zip(samples, targets.tolist(), strict=True):
        folder = sample.partition("/")[0]
        if found.setdefault(folder, label) != label:
            raise DataError(
                f"{path} gives images of {folder}/ the labels {found[folder]} and "
                f"{label}, so that it cannot say the labels of other images; remove it "
                "to have it written anew"
            )
    return {name: found[name] for name in classes if name in found}
