"""The lists of 1 % and 10 % of ImageNet: the published ones, or drawn ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.data import subsets
from ssl_bench.data.image_list import ImageDataset
from ssl_bench.errors import DataError
from ssl_bench.files import atomic_write_text

SOURCE = "https://github.com/google-research/simclr, imagenet_subsets/"


@dataclass(frozen=True)
class Part:
    """Say what a list is.

    Attributes:
        name: of SimCLR's file, without ``.txt``.
        fraction: of the training images.
        images: lines of SimCLR's file.
    """

    name: str
    fraction: float
    images: int


# Source: google-research/simclr, imagenet_subsets/1percent.txt and 10percent.txt.
PARTS = (Part("1percent", 0.01, 12_811), Part("10percent", 0.1, 128_116))


@dataclass(frozen=True)
class Made:
    """Say what became of one list.

    Attributes:
        path: of the list.
        images: its lines; 0 where it was there already and is left as it was.
        official: whether it is SimCLR's.
        odd: what is odd about it; empty where nothing is.
    """

    path: Path
    images: int
    official: bool
    odd: str = ""


def list_path(root: Path, part: Part) -> Path:
    """Return the place of a list below the root of ImageNet."""
    return root / "meta" / f"train_{part.name}.txt"


def origin_path(path: Path) -> Path:
    """Return the file beside a list that says where the list comes from."""
    return path.with_name(f"{path.stem}.origin.txt")


def prepare(
    train: ImageDataset, official: Path | None, *, seed: int, replace: bool = False
) -> list[Made]:
    """Write the lists with labels, and beside each where it comes from.

    Args:
        train: the training images, with a list of their own in ``meta/``.
        official: the folder with SimCLR's files; None draws class-balanced parts.
        seed: of the draw.
        replace: also write lists that are there already.

    Returns:
        What became of each list. Of SimCLR's lists those that ``official`` holds.

    Raises:
        DataError: when the training images have no list, ``official`` holds neither
            file, or a file and the training images do not fit together.
        BenchError: where nothing can be written.
    """
    names = ("train.txt", "train_labeled.txt")
    if not any((train.root / "meta" / name).is_file() for name in names):
        # A folder meta/ without it would hide the class folders.
        raise DataError(
            f"{train.root} has no meta/train.txt; write it first: python "
            f"tools/prepare_imagenet.py {train.root}"
        )
    parts = [p for p in PARTS if official is None or _file(official, p).is_file()]
    if not parts:
        raise DataError(
            f"{official} holds neither {' nor '.join(f'{p.name}.txt' for p in PARTS)}; "
            f"get them from {SOURCE}"
        )
    made = []
    for part in parts:
        path = list_path(train.root, part)
        if path.is_file() and not replace:
            made.append(Made(path, 0, official=is_official(path)))
        elif official is None:
            made.append(_draw(train, part, path, seed))
        else:
            made.append(_convert(train, part, path, _file(official, part)))
    return made


def is_official(path: Path) -> bool:
    """Return whether nothing says that a list is not SimCLR's."""
    try:
        return not origin_path(path).read_text("utf-8").startswith(_UNOFFICIAL)
    except (OSError, UnicodeDecodeError):
        return True


_UNOFFICIAL = "These are not the official images"


def _file(official: Path, part: Part) -> Path:
    return official / f"{part.name}.txt"


def _draw(train: ImageDataset, part: Part, path: Path, seed: int) -> Made:
    indices = subsets.draw_fraction(train.targets, part.fraction, seed)
    origin = (
        f"{_UNOFFICIAL}: {len(indices)} were drawn class by class from seed {seed}, "
        f"{part.fraction:.0%} of the {len(train)} of {train.split}. Numbers on them "
        f"are not comparable to published ones, which use {SOURCE}{part.name}.txt\n"
    )
    # The origin first: such a list never stands there without it.
    atomic_write_text(origin_path(path), origin)
    atomic_write_text(path, subsets.list_text(train, indices))
    return Made(path, len(indices), official=False)


def _convert(train: ImageDataset, part: Part, path: Path, source: Path) -> Made:
    indices = subsets.read_subset(train, source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    origin = f"Made of {source.name} ({len(indices)} images, sha256 {digest}).\n"
    odd = ""
    if len(indices) != part.images:
        odd = f"{source} names {len(indices)} images, and SimCLR's {part.images}"
        origin = (
            f"{_UNOFFICIAL}: SimCLR's list has {part.images}. Numbers on them are not "
            f"comparable to published ones.\n{origin}"
        )
        # The origin first: such a list never stands there without it.
        atomic_write_text(origin_path(path), origin)
    atomic_write_text(path, subsets.list_text(train, indices))
    atomic_write_text(origin_path(path), origin)
    return Made(path, len(indices), official=not odd, odd=odd)
