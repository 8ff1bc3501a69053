"""A tiny VOC 2007, written line by line as the real one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cow", "bus", "sheep")  # not in the order of the alphabet
TRAINVAL = {"000005": "1 -1 -1", "000007": "-1 0 1", "000009": "-1 -1 -1"}
TEST = {"000001": "-1 1 1", "000002": "0 -1 -1"}


def write_devkit(
    root: Path,
    trainval: Mapping[str, str] = TRAINVAL,
    test: Mapping[str, str] = TEST,
    classes: Sequence[str] = CLASSES,
) -> Path:
    """Write images, lists and annotations below ``root/VOCdevkit/VOC2007``.

    Args:
        root: the folder that gets ``VOCdevkit``.
        trainval: by id, the value of each class: 1, -1 or 0.
        test: the same.
        classes: in the order of those values.

    Returns:
        The folder ``VOC2007``.
    """
    home = root / "VOCdevkit" / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (home / folder).mkdir(parents=True)
    lists = home / "ImageSets" / "Main"
    for split, rows in (("trainval", trainval), ("test", test)):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in rows))
        for place, title in enumerate(classes):
            lines = [f"{i} {row.split()[place]:>2}\n" for i, row in rows.items()]
            (lists / f"{title}_{split}.txt").write_text("".join(lines))
        for name, row in rows.items():
            draw = np.random.RandomState(int(name))
            pixels = draw.randint(0, 256, (15, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "JPEGImages" / f"{name}.jpg")
            write_annotation(home, name, dict(zip(classes, row.split(), strict=True)))
    # What the real one has besides, and no data set may take for a class.
    (lists / "train.txt").write_text("000005\n")
    (lists / "cow_train.txt").write_text("000005  1\n")
    (lists / "._cow_trainval.txt").write_bytes(b"\0\5\26\7")
    return home


def write_annotation(home: Path, name: str, values: Mapping[str, str]) -> None:
    """Write one object a class that is there; a person has parts, with names."""
    objects = "".join(
        f"<object><name>{title}</name><difficult>{int(value == '0')}</difficult>"
        "<part><name>head</name></part></object>"
        for title, value in values.items()
        if value != "-1"
    )
    text = f"<annotation><filename>{name}.jpg</filename>{objects}</annotation>\n"
    (home / "Annotations" / f"{name}.xml").write_text(text)
