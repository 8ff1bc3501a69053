"""ADE20K as the scene parsing benchmark distributes it: 150 classes, 0 is all else.

Source of the layout: ``ADEChallengeData2016`` of sceneparsing.csail.mit.edu.
"""

from __future__ import annotations

from pathlib import Path

from ssl_bench.data import roots
from ssl_bench.data.dense_maps import LabelMaps
from ssl_bench.data.dense_split import DenseSplit, is_bundled
from ssl_bench.data.images import is_image_name
from ssl_bench.errors import DataError

FOLDER = "ADEChallengeData2016"
COUNT = 150
SPLITS = ("training", "validation")
NAMES = "objectInfo150.txt"
LAYOUT = (
    "{images,annotations}/{training,validation}, as ADEChallengeData2016.zip has it"
)


def open_ade20k(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open ADE20K.

    Raises:
        DataError: when it is not there, or the list of its classes cannot be read.
    """
    root = roots.find(
        "ade20k",
        (FOLDER, f"ade/{FOLDER}"),
        data_root,
        lambda folder: (folder / "annotations" / SPLITS[0]).is_dir(),
        LAYOUT,
    )
    path = root / NAMES
    classes = _read_names(path) if path.is_file() else _numbered()
    train, test = (_split(root, split, classes) for split in SPLITS)
    return train, test


def _split(root: Path, split: str, classes: tuple[str, ...]) -> LabelMaps:
    images, labels = root / "images" / split, root / "annotations" / split
    try:
        names = sorted(p.name for p in images.iterdir() if is_image_name(p.name))
    except OSError as error:
        raise DataError(
            f"cannot list {images}: {error.strerror or error}; unpack "
            f"{FOLDER}.zip there"
        ) from error
    if not names:
        raise DataError(f"{images} has no image; unpack {FOLDER}.zip there")
    return LabelMaps(
        name="ade20k",
        split=split,
        root=root,
        classes=classes,
        bundled=is_bundled(root),
        pairs=tuple((images / n, labels / f"{Path(n).stem}.png") for n in names),
        reduce_zero_label=True,
    )


def _read_names(path: Path) -> tuple[str, ...]:
    """Read the first and the last column, number and names of a class."""
    names: dict[int, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; {_RESTORE}") from error
    for line in lines[1:]:
        fields = [field.strip() for field in line.split("\t") if field.strip()]
        if len(fields) > 1 and fields[0].isdecimal():
            names[int(fields[0])] = fields[-1]
    if sorted(names) != list(range(1, COUNT + 1)):
        raise DataError(
            f"{path} names {len(names)} classes, where each of 1 to {COUNT} has a line "
            f"'number, tab, ..., tab, name'; {_RESTORE}"
        )
    full = [names[number] for number in range(1, COUNT + 1)]
    short = [name.split(",")[0].strip() for name in full]
    # A first word that several classes have, such as "screen", names none of them.
    return tuple(
        one if short.count(one) == 1 else all_
        for one, all_ in zip(short, full, strict=True)
    )


def _numbered() -> tuple[str, ...]:
    return tuple(f"class_{number}" for number in range(1, COUNT + 1))


_RESTORE = "restore it from the archive, or remove it: classes are numbered then"
