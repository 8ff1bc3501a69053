"""Hold copies of COCO, VOC 2012 and Cityscapes against what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data import check_report, dense, dense_cityscapes, dense_coco
from ssl_bench.data.check_report import Line, Report
from ssl_bench.data.dense_voc_maps import LISTS, UNPACK, find_voc12
from ssl_bench.errors import DataError


@dataclass(frozen=True)
class Known:
    """Say what a complete copy of a data set has.

    Attributes:
        title: its name in a sentence.
        kind: ``detect`` or ``segment``.
        dataset: its name on the command line.
        find: returns its folder.
        images: how many, of ``train`` and ``test``.
        advice: what to do where it is not there.
        again: what to do where images are missing.
    """

    title: str
    kind: str
    dataset: str
    find: Callable[[Path | None], Path]
    images: tuple[int, int]
    advice: str
    again: str


COCO = Known(
    title="COCO 2017",
    kind="detect",
    dataset="coco",
    find=dense_coco.find,
    # Source: the annotation files as they are distributed.
    images=(118_287, 5_000),
    advice=dense_coco.ADVICE,
    again=dense_coco.ADVICE,
)

VOC12AUG = Known(
    title="VOC 2012",
    kind="segment",
    dataset="voc12aug",
    find=find_voc12,
    # Source: the lists of the development kit (1464 and 1449), and the 9118 images of
    # Hariharan et al. that are in neither.
    images=(1_464 + 9_118, 1_449),
    advice=f"{UNPACK} there",
    again=f"{UNPACK}; remove {LISTS}/aug.txt to have it made anew with --aug DIR",
)

CITYSCAPES = Known(
    title="Cityscapes",
    kind="segment",
    dataset="cityscapes",
    find=dense_cityscapes.find,
    # Source: Cordts et al. 2016, section 2.2.
    images=(2_975, 500),
    advice=dense_cityscapes.ADVICE,
    again=dense_cityscapes.ADVICE,
)


def home(root: Path, known: Known) -> Path:
    """Return the folder of a data set.

    Args:
        root: this folder, or the one above it.
        known: the data set.

    Raises:
        DataError: when there is nothing of it, with what to do.
    """
    try:
        return known.find(root)
    except DataError as error:
        raise DataError(
            f"there is no {known.title} in {root} or below it: {known.advice}"
        ) from error


def check(root: Path, known: Known) -> Report:
    """Compare a copy with what is known, and look at its labels and image files.

    Args:
        root: the folder of the data set.
        known: what is expected.

    Raises:
        DataError: when it cannot be opened.
    """
    lines: list[Line] = []
    splits = dense.open_splits(known.kind, known.dataset, root, seed=0)
    for split, expected in zip(splits.values(), known.images, strict=True):
        found = len(split)
        advice = "" if found == expected else known.again
        lines.append(
            Line(f"{split.split} images", f"{expected:,}", f"{found:,}", (), advice)
        )
        wrong = dense.check(split)
        lines.append(
            Line(
                f"{split.split} problems",
                "0",
                str(len(wrong)),
                tuple(wrong),
                "mend what is named above" if wrong else "",
            )
        )
    return Report(root, tuple(lines))


def render(report: Report, known: Known) -> str:
    """Return a table for a terminal, what deviates, and what to do about it."""
    return check_report.render(
        report,
        f"{known.title} in {report.root}",
        f"complete: --dataset {known.dataset} --data-root {report.root} can be used",
    )
