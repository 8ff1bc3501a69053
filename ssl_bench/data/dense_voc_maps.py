"""Label maps in the layout of the VOC development kit.

Source of the layouts: ``SegmentationClass`` and ``ImageSets/Segmentation`` of the kit;
the augmented VOC as MMSegmentation keeps it, ``SegmentationClassAug`` and ``aug.txt``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ssl_bench.data import dense_voc, roots, voc07
from ssl_bench.data.dense_maps import VOID, LabelMaps, Pairs, bit_palette, values_of
from ssl_bench.data.dense_split import DenseSplit, is_bundled, read_ids, twice
from ssl_bench.data.digit_scenes_voc import DigitScenesVoc
from ssl_bench.data.digits import CLASSES as DIGITS
from ssl_bench.data.images import is_image_name
from ssl_bench.data.scene_cache import NAME, ensure
from ssl_bench.data.scenes import FOLDERS
from ssl_bench.errors import DataError
from ssl_bench.progress import progress

CLASSES = ("background", *dense_voc.CLASSES)
YEAR = "VOC2012"
LISTS = "ImageSets/Segmentation"
AUGMENTED = "SegmentationClassAug"
LAYOUT = (
    "VOC2012/JPEGImages/<id>.jpg, VOC2012/SegmentationClass/<id>.png, "
    "VOC2012/SegmentationClassAug/<id>.png and "
    "VOC2012/ImageSets/Segmentation/{train,aug,val}.txt"
)
ADVICE = "python tools/prepare_voc12aug.py ROOT says what is missing, and makes it"
UNPACK = "unpack VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012"

_THREADS = 8
_AGAIN = (
    f"remove the folder {FOLDERS['voc']} of the scenes, so that it is made once more"
)


def find_voc12(data_root: Path | None) -> Path:
    """Return the folder ``VOC2012``; its parents are taken as well.

    Raises:
        DataError: with the places that were looked at and the line to type.
    """
    found = roots.find(
        "voc12aug",
        (dense_voc.DEVKIT, YEAR),
        data_root,
        lambda folder: (folder / YEAR).is_dir() or (folder / LISTS).is_dir(),
        LAYOUT,
    )
    return found / YEAR if (found / YEAR).is_dir() else found


def open_voc12aug(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open VOC 2012 with the label maps of Hariharan et al.

    Raises:
        DataError: when it is not there, a list cannot be read, or an image stands in
            two lists.
    """
    root = find_voc12(data_root)
    ids = {
        part: read_ids(root / LISTS / f"{part}.txt", advice)
        for part, advice in (("train", UNPACK), ("aug", ADVICE), ("val", UNPACK))
    }
    for one, other in (("train", "val"), ("train", "aug"), ("val", "aug")):
        if both := [name for name in ids[one] if name in set(ids[other])]:
            raise DataError(
                f"{root / LISTS}: {len(both)} images stand in {one}.txt and in "
                f"{other}.txt, first {both[0]}; an image stands in one of the lists, "
                f"so take them from {other}.txt"
            )
    train = _voc_pairs(root, ids["train"])
    train += _voc_pairs(root, ids["aug"], AUGMENTED)
    return _pair("voc12aug", root, train, _voc_pairs(root, ids["val"]))


def open_scenes(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open the VOC style of the bundled scenes; without a root they are made."""
    root = (
        ensure("voc") / voc07.YEAR
        if data_root is None
        else DigitScenesVoc.find(data_root)
    )
    parts = [
        _voc_pairs(root, read_ids(root / LISTS / f"{part}.txt", _AGAIN))
        for part in ("trainval", "test")
    ]
    classes = ("background", *DIGITS)
    return _pair(
        NAME, root, *parts, splits=("trainval", "test"), classes=classes, bundled=True
    )


def open_folder(data_root: Path | None) -> tuple[DenseSplit, DenseSplit]:
    """Open data of the user's own, laid out as VOC.

    Raises:
        DataError: when a list, ``classes.txt`` or a label map cannot be read.
    """
    root = roots.find(
        "folder",
        ("folder",),
        data_root,
        lambda folder: (folder / LISTS).is_dir(),
        "JPEGImages/<id>.jpg (or .png), SegmentationClass/<id>.png, "
        "ImageSets/Segmentation/{train,val}.txt, and classes.txt where classes have "
        "names",
    )
    advice = f"a line of {LISTS}/train.txt and val.txt is the id of an image"
    train, test = (
        _voc_pairs(root, read_ids(root / LISTS / f"{part}.txt", advice))
        for part in ("train", "val")
    )
    path = root / "classes.txt"
    classes = _read_classes(path) if path.exists() else _counted(root, train)
    return _pair("folder", root, train, test, classes=classes, own=True)


def _pair(
    name: str,
    root: Path,
    train: Pairs,
    test: Pairs,
    *,
    splits: tuple[str, str] = ("train", "val"),
    classes: tuple[str, ...] = CLASSES,
    bundled: bool = False,
    own: bool = False,
) -> tuple[DenseSplit, DenseSplit]:
    train_split, test_split = (
        LabelMaps(
            name=name,
            split=split,
            root=root,
            classes=classes,
            bundled=bundled or is_bundled(root),
            own=own,
            pairs=pairs,
            palette=bit_palette(len(classes)),
        )
        for split, pairs in zip(splits, (train, test), strict=True)
    )
    return train_split, test_split


def _voc_pairs(
    root: Path, ids: Sequence[str], labels: str = "SegmentationClass"
) -> Pairs:
    folder = root / "JPEGImages"
    try:
        names = sorted(p.name for p in folder.iterdir() if is_image_name(p.name))
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from error
    file_of: dict[str, str] = {}
    for name in names:
        file_of.setdefault(Path(name).stem, name)
    return tuple(
        (folder / file_of.get(name, f"{name}.jpg"), root / labels / f"{name}.png")
        for name in ids
    )


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; it is text in UTF-8") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(names) <= VOID:
        raise DataError(
            f"{path} names {len(names)} classes; write one a line, in the order of "
            f"their values from 0, at most {VOID}"
        )
    if again := twice(names):
        raise DataError(
            f"{path} names the class {again[0]!r} twice; give each a name of its own"
        )
    return tuple(names)


def _counted(root: Path, pairs: Pairs) -> tuple[str, ...]:
    """Number the classes by the largest value of the training label maps."""
    largest = -1
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        progress(f"classes of {root.name}", len(pairs)) as advance,
    ):
        for values, _ in pool.map(_values, [labels for _, labels in pairs]):
            largest = max([largest, *(v for v in values if v != VOID)])
            advance(1)
    if largest < 0:
        raise DataError(
            f"no training label map of {root} has a value besides {VOID}, so that the "
            f"classes cannot be counted; name them in {root / 'classes.txt'}, one a "
            "line"
        )
    return tuple(f"class_{value}" for value in range(largest + 1))


def _values(path: Path) -> tuple[list[int], tuple[int, int]]:
    try:
        return values_of(path)
    except DataError as error:
        raise DataError(
            f"cannot count the classes in {error}; mend it, or name the classes in "
            f"{path.parent.parent / 'classes.txt'}, one a line"
        ) from error
