"""Boxes of PASCAL VOC: one XML file an image, several years in one split.

Source of the layout: the VOC development kit, ``Annotations`` and ``ImageSets/Main``.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data import roots
from ssl_bench.data.dense_split import (
    DenseSplit,
    absent,
    first_of,
    is_bundled,
    problem,
    read_ids,
)
from ssl_bench.data.voc07 import KNOWN
from ssl_bench.data.voc07_check import annotation_root
from ssl_bench.errors import DataError
from ssl_bench.progress import progress

CLASSES = tuple(KNOWN.positives["test"])
DEVKIT = "VOCdevkit"
YEARS = ("VOC2007", "VOC2012")
LAYOUT = (
    "VOC2007 and VOC2012, each with JPEGImages/<id>.jpg, Annotations/<id>.xml and "
    "ImageSets/Main/{trainval,test}.txt"
)
ADVICE = (
    "unpack VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and "
    "VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC in one folder"
)

_THREADS = 8
_SLACK = 1.0  # pixels: some boxes of VOC begin at 0 although they count from 1


@dataclass(frozen=True)
class Box:
    """Say where one object is: pixels from 1, the last one belongs to the box."""

    name: str
    difficult: bool
    corners: tuple[float, float, float, float]

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        left, top, right, bottom = self.corners
        return not (right >= left and bottom >= top)

    def leaves(self, width: int, height: int) -> bool:
        """Return whether it reaches out of an image by more than a pixel."""
        left, top, right, bottom = self.corners
        return (
            min(left, top) < 1 - _SLACK
            or right > width + _SLACK
            or bottom > height + _SLACK
        )


@dataclass(frozen=True)
class Annotation:
    """Hold what the XML file of an image says.

    Attributes:
        size: width and height, None where it does not say them.
        boxes: in the order of the file.
    """

    size: tuple[int, int] | None
    boxes: tuple[Box, ...]


@dataclass(frozen=True, kw_only=True)
class VocBoxes(DenseSplit):
    """Hold the lists of one or several years.

    Attributes:
        years: the folder of a year, and which list of ``ImageSets/Main`` is taken.
    """

    years: tuple[tuple[Path, str], ...]

    @property
    def _lists(self) -> list[Path]:
        return [home / "ImageSets/Main" / f"{part}.txt" for home, part in self.years]

    @functools.cached_property
    def _places(self) -> Sequence[tuple[Path, str]]:
        """Return the year's folder and the id of every image."""
        places = [
            (home, name)
            for (home, _), path in zip(self.years, self._lists, strict=True)
            for name in read_ids(path, ADVICE)
        ]
        return first_of(places, self.limit)

    def image_files(self) -> Sequence[Path]:
        """Return the images, after the limit, year by year."""
        return [home / "JPEGImages" / f"{name}.jpg" for home, name in self._places]

    def label_files(self) -> Sequence[Path]:
        """Return the annotation of every image."""
        return [home / "Annotations" / f"{name}.xml" for home, name in self._places]

    def problems(self) -> list[str]:
        """Return a sentence for every sort of problem, with its count and the first."""
        lost = absent(self.root, [self.below(path) for path in self.image_files()])
        sentences = self._blanks()
        sentences += problem(
            self.root,
            len(lost),
            len(self),
            "images are missing",
            next(iter(lost), ""),
            ADVICE,
        )
        found: dict[str, list[str]] = defaultdict(list)
        usable = 0
        paths = self.label_files()
        what = f"annotations of {self.split}"
        with (
            ThreadPoolExecutor(_THREADS) as pool,
            progress(what, len(paths)) as advance,
        ):
            for path, read in zip(paths, pool.map(_read, paths), strict=True):
                if isinstance(read, str):
                    found["cannot be read"].append(read)
                else:
                    usable += self._inspect(path, read, found)
                advance(1)
        for text, examples in found.items():
            sentences += problem(
                self.root,
                len(examples),
                len(paths),
                f"annotations {text}",
                examples[0],
                "correct them, or unpack the archives again",
            )
        if not usable:
            sentences.append(
                f"{self.root}: none of the {len(self)} images has an object that is "
                "not difficult and has a box; take more images, or add annotations"
            )
        return sentences

    def _blanks(self) -> list[str]:
        """Find lines that OpenMMLab takes for names of files as they stand."""
        sentences: list[str] = []
        for path in self._lists:
            lines = path.read_bytes().decode("utf-8", "replace").splitlines()
            blank = [
                line for line in lines if not line.strip() or line.split() != [line]
            ]
            sentences += problem(
                path,
                len(blank),
                len(lines),
                "lines are blank or have blanks around the id",
                repr(next(iter(blank), "")),
                "take the blanks out",
            )
        return sentences

    def _inspect(
        self, path: Path, read: Annotation, found: dict[str, list[str]]
    ) -> bool:
        """Add what is wrong to ``found``; return whether the image can be learnt."""
        name = self.below(path)
        wrong: dict[str, str] = {}
        if read.size is None:
            wrong["have no size"] = name
        for box in read.boxes:
            said = f"{name} with {box.name} at {list(box.corners)}"
            if box.name not in self.classes:
                wrong.setdefault("name an unknown class", f"{box.name!r} in {name}")
            if box.empty:
                wrong.setdefault("have a box without width or height", said)
            elif read.size is not None and box.leaves(*read.size):
                size = f"{read.size[0]} x {read.size[1]}"
                wrong.setdefault(
                    "have a box that leaves the image", f"{said} of {size}"
                )
        for text, example in wrong.items():
            found[text].append(example)
        return any(
            not (box.difficult or box.empty) and box.name in self.classes
            for box in read.boxes
        )


def open_voc0712(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open trainval of 2007 and 2012 together, and test of 2007.

    Raises:
        DataError: when there is no development kit, or a list cannot be read.
    """
    root = roots.find("voc0712", (DEVKIT,), data_root, _recognises, LAYOUT)
    seven, twelve = (root / year for year in YEARS)
    splits = [
        VocBoxes(
            name="voc0712",
            split=" + ".join(f"{home.name} {part}" for home, part in years),
            root=root,
            classes=CLASSES,
            bundled=is_bundled(root),
            years=years,
        )
        for years in (
            ((seven, "trainval"), (twelve, "trainval")),
            ((seven, "test"),),
        )
    ]
    for split in splits:
        len(split)  # reads the lists
    return splits[0], splits[1]


def read_boxes(path: Path) -> Annotation:
    """Read the boxes of an image.

    Args:
        path: an XML file of ``Annotations/``.

    Raises:
        DataError: when the file cannot be read, is no XML, has a box without four
            numbers, or defines a document type, by which a small file can fill the
            memory.
    """
    root = annotation_root(path)
    boxes: list[Box] = []
    for number, item in enumerate(root.findall("object"), start=1):
        box = item.find("bndbox")
        texts = ("xmin", "ymin", "xmax", "ymax")
        values = [_number(box.findtext(t)) if box is not None else None for t in texts]
        left, top, right, bottom = values
        if left is None or top is None or right is None or bottom is None:
            raise DataError(f"{path}: object {number} has no box of four numbers")
        name = item.findtext("name") or ""
        difficult = (item.findtext("difficult") or "0").strip() != "0"
        boxes.append(Box(name, difficult, (left, top, right, bottom)))
    sides = [root.findtext(f"size/{side}") or "" for side in ("width", "height")]
    whole = [int(side) for side in sides if side.strip().isdecimal()]
    size = (whole[0], whole[1]) if len(whole) == 2 and min(whole) > 0 else None
    return Annotation(size, tuple(boxes))


def _read(path: Path) -> Annotation | str:
    try:
        return read_boxes(path)
    except DataError as error:
        return str(error)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def _recognises(folder: Path) -> bool:
    return any((folder / year).is_dir() for year in YEARS)
