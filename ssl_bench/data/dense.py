"""The data sets with boxes, masks or label maps, by name.

Source of the layouts: COCO 2017, the VOC development kit, the augmented VOC of
Hariharan et al. 2011 as MMSegmentation keeps it, Cityscapes, and the scene parsing
benchmark of ADE20K.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ssl_bench.data import (
    dense_ade20k,
    dense_cityscapes,
    dense_coco,
    dense_voc,
    dense_voc_maps,
)
from ssl_bench.data.dense_coco import CocoSplit
from ssl_bench.data.dense_maps import LabelMaps
from ssl_bench.data.dense_split import DenseSplit
from ssl_bench.data.dense_voc import VocBoxes
from ssl_bench.errors import DataError, unknown

__all__ = [
    "CocoSplit",
    "DenseSplit",
    "LabelMaps",
    "VocBoxes",
    "check",
    "names",
    "open_splits",
]

Opener = Callable[[Path | None], tuple[DenseSplit, DenseSplit]]

OPENERS: Mapping[str, Mapping[str, Opener]] = {
    "detect": {
        "coco": dense_coco.open_coco,
        "digit-scenes": dense_coco.open_scenes,
        "folder": dense_coco.open_folder,
        "voc0712": dense_voc.open_voc0712,
    },
    "segment": {
        "ade20k": dense_ade20k.open_ade20k,
        "cityscapes": dense_cityscapes.open_cityscapes,
        "digit-scenes": dense_voc_maps.open_scenes,
        "folder": dense_voc_maps.open_folder,
        "voc12aug": dense_voc_maps.open_voc12aug,
    },
}


def names(kind: str) -> list[str]:
    """Return the names of the data sets of one kind.

    Args:
        kind: ``detect`` or ``segment``.

    Raises:
        DataError: for another kind.
    """
    if kind not in OPENERS:
        raise DataError(unknown("kind of labels", kind, OPENERS))
    return sorted(OPENERS[kind])


def open_splits(
    kind: str, name: str, data_root: Path | None, seed: int
) -> dict[str, DenseSplit]:
    """Open both splits of a data set; nothing of an image is read.

    Args:
        kind: ``detect`` or ``segment``.
        name: one of `names`.
        data_root: the folder of the data set or the one above it; None looks in
            ``$SSL_BENCH_DATA`` and ``./data``.
        seed: of the evaluation. Nothing is drawn from it here: a limit takes the first
            images.

    Returns:
        The training split under ``train``, the one reported on under ``test``.

    Raises:
        DataError: for an unknown name, and for data that are missing or cannot be read.
    """
    del seed
    if name not in names(kind):
        raise DataError(unknown(f"data set for {kind}", name, names(kind)))
    train, test = OPENERS[kind][name](data_root)
    return {"train": train, "test": test}


def check(split: DenseSplit) -> list[str]:
    """Look for everything that would spoil a training or its evaluation.

    Returns:
        A sentence for every sort of problem, with its count and the first example;
        empty where there is none.
    """
    return split.problems()
