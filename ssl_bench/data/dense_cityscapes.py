"""Cityscapes: street scenes, 19 classes that count in the evaluation.

Source of the layout, the ids and the colours: the labels that the data set's own
scripts (``cityscapesScripts``, ``helpers/labels.py``) document.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data import roots
from ssl_bench.data.dense_maps import MODES, VOID, LabelMaps
from ssl_bench.data.dense_split import DenseSplit, is_bundled
from ssl_bench.errors import BenchError, DataError
from ssl_bench.files import atomic_write
from ssl_bench.progress import progress

SPLITS = ("train", "val")
IMAGE_END = "_leftImg8bit.png"
LABELS_END = "_gtFine_labelTrainIds.png"
IDS_END = "_gtFine_labelIds.png"
LAYOUT = (
    "leftImg8bit/{train,val}/<city>/*_leftImg8bit.png and "
    "gtFine/{train,val}/<city>/*_gtFine_labelTrainIds.png"
)
ADVICE = (
    "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of "
    "www.cityscapes-dataset.com there, which takes an account"
)

LABELS: dict[int, tuple[str, tuple[int, int, int]]] = {
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}
"""By id, the classes that count; their place here is the train id."""

IDS = 34
"""Ids run from 0 to 33; 255 may stand for the licence plate's -1."""


def find(data_root: Path | None) -> Path:
    """Return the folder of Cityscapes.

    Raises:
        DataError: with the places that were looked at and the line to type.
    """
    return roots.find(
        "cityscapes",
        ("cityscapes", "Cityscapes"),
        data_root,
        lambda folder: any((folder / p).is_dir() for p in ("leftImg8bit", "gtFine")),
        LAYOUT,
    )


def open_cityscapes(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open Cityscapes.

    Raises:
        DataError: when it is not there, or its label maps are not made yet.
    """
    root = find(data_root)
    train, test = (_split(root, split) for split in SPLITS)
    return train, test


def train_ids() -> NDArray[np.uint8]:
    """Return (256,) the train id of every id, 255 where it does not count."""
    table = np.full(256, VOID, dtype=np.uint8)
    table[list(LABELS)] = np.arange(len(LABELS))
    return table


def write_train_ids(root: Path) -> int:
    """Write the label maps that are missing where the maps of ids are there.

    Args:
        root: the folder with ``gtFine/``.

    Returns:
        How many were written.

    Raises:
        DataError: for a picture that is no map of ids.
        BenchError: where nothing can be written.
    """
    table = train_ids()
    todo = [
        (path, target)
        for split in SPLITS
        for path in sorted((root / "gtFine" / split).glob(f"*/*{IDS_END}"))
        if not (target := _renamed(path, IDS_END, LABELS_END)).exists()
    ]
    with progress("label maps", len(todo)) as advance:
        for path, target in todo:
            ids_HW = _read_ids(path)
            with atomic_write(target) as beside:
                Image.fromarray(table[ids_HW]).save(beside, "PNG")
            advance(1)
    return len(todo)


def _read_ids(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            mode, ids_HW = image.mode, np.array(image)
    except BenchError:
        raise
    except Exception as error:  # decoders raise whatever they please
        raise DataError(f"cannot read {path}: {error}; {ADVICE}") from error
    values = np.unique(ids_HW)
    wrong = [v for v in values.tolist() if v >= IDS and v != VOID]
    if mode not in MODES or wrong:
        said = f"the value {wrong[0]}" if mode in MODES else f"the mode {mode}"
        raise DataError(
            f"{path} has {said}; a map of ids has one byte a pixel, 0 to {IDS - 1} or "
            f"{VOID}: {ADVICE}"
        )
    return ids_HW


def _split(root: Path, split: str) -> LabelMaps:
    folder = root / "leftImg8bit" / split
    images = sorted(folder.glob(f"*/*{IMAGE_END}"))
    if not images:
        raise DataError(f"{folder} has no <city>/*{IMAGE_END}; {ADVICE}")
    pairs = tuple(
        (image, root / "gtFine" / split / image.parent.name / name)
        for image in images
        for name in [_renamed(image, IMAGE_END, LABELS_END).name]
    )
    if not any(labels.is_file() for _, labels in pairs):
        raise DataError(
            f"{root / 'gtFine' / split} has no <city>/*{LABELS_END}; make them of the "
            f"maps of ids: python tools/prepare_cityscapes.py {root}"
        )
    return LabelMaps(
        name="cityscapes",
        split=split,
        root=root,
        classes=tuple(name for name, _ in LABELS.values()),
        bundled=is_bundled(root),
        pairs=pairs,
        palette=tuple(colour for _, colour in LABELS.values()),
    )


def _renamed(path: Path, end: str, other: str) -> Path:
    return path.with_name(path.name.removesuffix(end) + other)
