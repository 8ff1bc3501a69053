"""Hold copies of data sets against what is known of them: images and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_bench.data import catalogue, check_report
from ssl_bench.data.check_report import Line, Report
from ssl_bench.data.image_list import ImageDataset, shortened
from ssl_bench.errors import DataError
from ssl_bench.progress import note

_NAMED = 3  # images that a line names


@dataclass(frozen=True)
class Known:
    """Say what a complete copy of a data set has.

    Attributes:
        title: its name in a sentence.
        dataset: its name on the command line.
        images: how many, by split.
        classes: how many, in each split.
        advice: by split, what to do where something is missing.
    """

    title: str
    dataset: str
    images: Mapping[str, int]
    classes: int
    advice: Mapping[str, str]


IMAGENET = Known(
    title="ImageNet",
    dataset="imagenet",
    # Source: Russakovsky et al. 2015, table 2 (ILSVRC 2012).
    images={"train": 1_281_167, "val": 50_000},
    classes=1000,
    advice={
        "train": "unpack ILSVRC2012_img_train.tar, and each tar file in it into a "
        "folder of its name: train/n01440764/n01440764_10026.JPEG",
        "val": "unpack ILSVRC2012_img_val.tar into val/, and either put the list with "
        "labels there ('ILSVRC2012_val_00000001.JPEG 65' a line, in meta/val.txt) or "
        "move the images into class folders: val/n01751748/*.JPEG",
    },
)

PLACES205 = Known(
    title="Places205",
    dataset="places205",
    # Source: Zhou et al. 2014, section 3.1, and the lines of the distributed lists.
    images={"train": 2_448_873, "val": 20_500},
    classes=205,
    advice=dict.fromkeys(
        ("train", "val"),
        "unpack imagesPlaces205_resize.tar.gz and trainvalsplit_places205.tar.gz there",
    ),
)

INAT18 = Known(
    title="iNaturalist 2018",
    dataset="inat18",
    # Source: visipedia/inat_comp, 2018/README.md.
    images={"train": 437_513, "val": 24_426},
    classes=8142,
    advice={
        split: f"unpack train_val2018.tar.gz and {split}2018.json.tar.gz there"
        for split in ("train", "val")
    },
)


def _cifar(number: int) -> Known:
    advice = f"unpack cifar-{number}-python.tar.gz there"
    return Known(
        title=f"CIFAR-{number}",
        dataset=f"cifar{number}",
        # Source: Krizhevsky 2009, chapter 3.
        images={"train": 50_000, "val": 10_000},
        classes=number,
        advice={"train": advice, "val": advice},
    )


CIFAR10, CIFAR100 = _cifar(10), _cifar(100)


def home(root: Path, known: Known) -> Path:
    """Return the folder of a data set.

    Args:
        root: this folder, or the one above it.
        known: the data set.

    Raises:
        DataError: when there is nothing of it, with what to do.
    """
    kind = catalogue.get_dataset(known.dataset)
    try:
        return kind.find(root)
    except DataError as error:
        places = " or ".join(str(root / folder) for folder in kind.folders)
        advice = "; ".join(dict.fromkeys(known.advice.values()))
        raise DataError(
            f"there is no {known.title} in {root} or {places}: {advice}"
        ) from error


def check(root: Path, known: Known) -> Report:
    """Compare a copy with what is known: numbers, classes, and every image file.

    Args:
        root: the folder of the data set, or the one above it.
        known: what is expected.

    Raises:
        DataError: when there is nothing of it at all.
    """
    place = home(root, known)
    kind = catalogue.get_dataset(known.dataset)
    lines: list[Line] = []
    for split in kind.splits:
        try:
            found = kind.open(split, place)
        except DataError as error:
            what = f"{split} images with labels"
            lines.append(
                Line(what, "readable", "not", (str(error),), known.advice[split])
            )
            continue
        lines += _split_lines(found, known)
    return Report(place, tuple(lines))


def render(report: Report, known: Known) -> str:
    """Return a table for a terminal, what deviates, and what to do about it."""
    return check_report.render(
        report,
        f"{known.title} in {report.root}",
        f"complete: --dataset {known.dataset} --data-root {report.root} can be used",
    )


def _split_lines(dataset: ImageDataset, known: Known) -> list[Line]:
    split = dataset.split
    advice = known.advice[split]
    classes = np.unique(dataset.targets)
    note(f"{split}: looking for {len(dataset):,} images")
    lost = dataset.missing()
    names = shortened([dataset.samples[i] for i in lost[:_NAMED]])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    labels = set(classes.tolist())
    absent = [str(c) for c in range(known.classes) if c not in labels]
    strange = [str(c) for c in sorted(labels) if c >= known.classes]
    details = [f"labels {shortened(absent)} have no image"] if absent else []
    details += [f"labels {shortened(strange)} are beyond them"] if strange else []
    return [
        _number(f"{split} images", known.images[split], len(dataset), advice),
        _number(f"{split} classes", known.classes, len(classes), advice, details),
        _number(
            f"{split} image files",
            len(dataset),
            len(dataset) - len(lost),
            advice,
            [f"{names}{more} missing"] if lost else [],
        ),
    ]


def _number(
    what: str, expected: int, found: int, advice: str, details: Sequence[str] = ()
) -> Line:
    said = "" if expected == found else advice
    return Line(what, f"{expected:,}", f"{found:,}", tuple(details), said)
