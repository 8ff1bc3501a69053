"""Hold a copy of VOC 2007 against what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from ssl_bench.data import check_report
from ssl_bench.data.check_report import Line, Report
from ssl_bench.data.image_list import shortened
from ssl_bench.data.voc07 import KNOWN, Figures, Voc07
from ssl_bench.errors import DataError
from ssl_bench.progress import progress

ARCHIVE_OF = {
    "trainval": "VOCtrainval_06-Nov-2007.tar",
    "test": "VOCtest_06-Nov-2007.tar",
}

_LARGEST_XML = 1 << 20  # bytes; real ones have a few thousand
_NAMED = 3  # images that a line names
_THREADS = 8
_WORDS = {1: "there", 0: "not there", -1: "difficult only"}


def check(root: Path, figures: Figures = KNOWN) -> Report:
    """Compare a copy with the known figures, and its labels with its annotations.

    Args:
        root: the folder ``VOC2007``, ``VOCdevkit``, or the one above it.
        figures: what is expected.

    Raises:
        DataError: when there is no VOC 2007 at all.
    """
    try:
        home = Voc07.find(root)
    except DataError as error:
        raise DataError(
            f"there is no VOC 2007 in {root}, {root}/VOCdevkit or {root}/VOC2007; "
            f"unpack it there with --archives {' '.join(ARCHIVE_OF.values())}, or "
            "fetch it with --download"
        ) from error
    lines: list[Line] = []
    for split in Voc07.splits:
        try:
            found = Voc07(home, split)
        except DataError as error:
            lines.append(
                Line(f"{split} lists", "readable", "not", (str(error),), _unpack(split))
            )
            continue
        lines += [
            _number(f"{split} images", figures.images[split], len(found), split),
            _files(found),
            *_labels(found, figures),
            _annotations(found),
        ]
    return Report(home, tuple(lines))


def render(report: Report) -> str:
    """Return a table for a terminal, what deviates, and what to do about it."""
    return check_report.render(
        report,
        f"VOC 2007 in {report.root}",
        "complete: --dataset voc07 can be used",
    )


def _unpack(split: str) -> str:
    name = ARCHIVE_OF[split]
    return f"unpack {name} again (--archives {name}, or --download)"


def _number(
    what: str, expected: int, found: int, split: str, details: Sequence[str] = ()
) -> Line:
    advice = "" if expected == found else _unpack(split)
    return Line(what, str(expected), str(found), tuple(details), advice)


def _files(dataset: Voc07) -> Line:
    """Look for every image file that the list names."""
    folder = dataset.root / "JPEGImages"
    try:
        there = {path.name for path in folder.iterdir()}
    except OSError:
        there = set()
    names = [PurePosixPath(path).name for path in dataset.samples]
    lost = [name for name in names if name not in there]
    details = [f"{shortened(lost, _NAMED)} missing"] if lost else []
    return _number(
        f"{dataset.split} image files",
        len(names),
        len(names) - len(lost),
        dataset.split,
        details,
    )


def _labels(dataset: Voc07, figures: Figures) -> list[Line]:
    """Compare the numbers of positive and of ignored entries."""
    split, expected = dataset.split, figures.positives[dataset.split]
    positives = (dataset.targets == 1).sum(axis=0).tolist()
    found = dict(zip(dataset.classes, positives, strict=True))
    details = [
        f"{name} {found[name]} (not {count})" if name in found else f"{name} not there"
        for name, count in expected.items()
        if found.get(name) != count
    ]
    what = f"{split} classes with the known positives"
    wanted, right = len(expected), len(expected) - len(details)
    if len(expected) == 1:
        name, wanted = next(iter(expected.items()))
        what, right = f"{split} positives of {name}", found.get(name, 0)
    lines = [_number(what, wanted, right, split, details)]
    known = figures.positives["test"]
    strange = [name for name in dataset.classes if name not in known]
    lines.append(
        _number(
            f"{split} classes of other names",
            0,
            len(strange),
            split,
            [shortened(strange)] if strange else [],
        )
    )
    if split in figures.ignored:
        ignored = int(np.count_nonzero(dataset.targets == -1))
        lines.append(
            _number(f"{split} ignored entries", figures.ignored[split], ignored, split)
        )
    return lines


def _annotations(dataset: Voc07) -> Line:
    """Compare the labels of every image with the objects of its annotation."""
    details: list[str] = []
    wrong = 0
    names = [PurePosixPath(path).stem for path in dataset.samples]
    paths = [dataset.root / "Annotations" / f"{name}.xml" for name in names]
    what = f"{dataset.split} annotations"
    with ThreadPoolExecutor(_THREADS) as pool, progress(what, len(paths)) as advance:
        found = pool.map(lambda path: _differences(path, dataset.classes), paths)
        for name, row, targets in zip(names, dataset.targets, found, strict=True):
            if isinstance(targets, str):
                here = [targets]
            else:
                mine = dict(zip(dataset.classes, row.tolist(), strict=True))
                here = [
                    f"{label} {_WORDS[target]} by the list, "
                    f"{_WORDS[targets.get(label, 0)]} by the annotation"
                    for label, target in mine.items()
                    if target != targets.get(label, 0)
                ]
            details += [f"{name}: {text}" for text in here]
            wrong += bool(here)
            advance(1)
    return _number(
        f"{what} that agree",
        len(names),
        len(names) - wrong,
        dataset.split,
        _first(details),
    )


def _first(details: Sequence[str], count: int = 5) -> list[str]:
    rest = [f"and {len(details) - count} more"] if len(details) > count else []
    return [*details[:count], *rest]


def _differences(path: Path, classes: Sequence[str]) -> Mapping[str, int] | str:
    """Return targets by class, or why the annotation cannot be used."""
    try:
        targets = read_annotation(path)
    except DataError as error:
        return str(error)
    strange = sorted(set(targets) - set(classes))
    if strange:
        return f"its annotation has objects of no class: {shortened(strange, _NAMED)}"
    return targets


def annotation_root(path: Path) -> ElementTree.Element:
    """Parse an annotation of a development kit.

    Args:
        path: an XML file of ``Annotations/``.

    Raises:
        DataError: when the file cannot be read, is no XML, or defines a document type,
            by which a small file can fill the memory.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > _LARGEST_XML:
        raise DataError(f"{path} has {len(content)} bytes, too many for an annotation")
    try:
        # Decoded first: in UTF-16 the two words below would not be found.
        text = content.decode("utf-8-sig")
        for word in ("<!DOCTYPE", "<!ENTITY"):
            if word in text.upper():
                raise DataError(f"{path} has {word}, which no annotation needs")
        return ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no XML in UTF-8: {error}") from error


def read_annotation(path: Path) -> dict[str, int]:
    """Read which classes an annotation shows.

    Args:
        path: an XML file of ``Annotations/``.

    Returns:
        By class: 1 for one with an object that is not difficult, else -1. A class that
        is not there is not in it.

    Raises:
        DataError: as `annotation_root`.
    """
    objects = annotation_root(path).findall("object")
    shown: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    for item in objects:
        name = (item.findtext("name") or "").strip()
        difficult = (item.findtext("difficult") or "0").strip()
        shown[name] += 1
        plain[name] += difficult == "0"
    return {name: 1 if plain[name] else -1 for name in shown}
