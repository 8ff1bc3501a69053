"""Read an annotation file of COCO's into arrays, once a process.

Letters: I images, A annotations.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.data.dense_split import check_inside, twice
from ssl_bench.data.image_list import shortened
from ssl_bench.errors import DataError

_PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoFile:
    """Hold what an annotation file says; masks only as whether they are there.

    Attributes:
        names: I file names below the images' folder.
        image_ids: (I,) int64.
        sizes: (I, 2) int64: width and height.
        ids: (A,) int64 of the annotations.
        of_image: (A,) int64: the id of its image.
        category: (A,) int64: the id of its category.
        boxes: (A, 4) float64: left, top, width, height in pixels.
        areas: (A,) float64 in square pixels, NaN where it is not said.
        crowd: (A,) bool.
        masked: (A,) bool: whether it has a segmentation.
        categories: id and name, in the order of the file.
    """

    names: tuple[str, ...]
    image_ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    ids: NDArray[np.int64]
    of_image: NDArray[np.int64]
    category: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masked: NDArray[np.bool_]
    categories: tuple[tuple[int, str], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the categories in the order of their ids."""
        return tuple(name for _, name in sorted(self.categories))


def read(path: Path) -> CocoFile:
    """Read an annotation file, or return what was read of it before.

    Raises:
        DataError: for a file that cannot be read, is no JSON, lacks a part or has an
            entry that lacks something, with its place.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return _read(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> CocoFile:
    del modified, size  # a changed file is another one
    content = _parse(path)
    images, annotations, categories = (_entries(path, content, p) for p in _PARTS)
    names = _column(path, "images", images, "file_name", _is_text, "a text")
    return CocoFile(
        names=tuple(
            check_inside(name, f"{path}: images[{place}]")
            for place, name in enumerate(names)
        ),
        image_ids=_whole(path, "images", images, "id"),
        sizes=np.stack(
            [_whole(path, "images", images, key) for key in ("width", "height")], axis=1
        ),
        ids=_whole(path, "annotations", annotations, "id"),
        of_image=_whole(path, "annotations", annotations, "image_id"),
        category=_whole(path, "annotations", annotations, "category_id"),
        boxes=_boxes(path, annotations),
        areas=np.array([_area(a) for a in annotations], dtype=np.float64),
        crowd=np.array([bool(a.get("iscrowd")) for a in annotations], dtype=np.bool_),
        masked=np.array([_has_mask(a) for a in annotations], dtype=np.bool_),
        categories=_categories(path, categories),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        with _no_collection():
            content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is no JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}; copy or unpack it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {error}; unpack it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {_kind(content)}; {_SHAPE}")
    if lacking := [part for part in _PARTS if part not in content]:
        raise DataError(f"{path} has no {' and no '.join(lacking)}; {_SHAPE}")
    return content


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Spare the millions of entries, of which none is garbage: a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _entries(path: Path, content: dict[str, Any], part: str) -> list[dict[str, Any]]:
    entries = content[part]
    if not isinstance(entries, list):
        raise DataError(f"{part} of {path} is {_kind(entries)}; {_SHAPE}")
    if not entries and part != "annotations":
        raise DataError(f"{part} of {path} is empty; {_SHAPE}")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {part}[{place}] is {_kind(entry)}; {_SHAPE}")
    return entries


def _column(
    path: Path,
    part: str,
    entries: Sequence[dict[str, Any]],
    key: str,
    right: Callable[[Any], bool],
    wanted: str,
) -> list[Any]:
    """Return one value of every entry; refuse the first that is missing or wrong."""
    values = [entry.get(key) for entry in entries]
    for place, value in enumerate(values):
        if not right(value):
            said = f"{value!r} as its {key}" if key in entries[place] else f"no {key}"
            raise DataError(
                f"{path}: {part}[{place}] has {said:.200}; it needs {wanted} there"
            )
    return values


def _whole(
    path: Path, part: str, entries: Sequence[dict[str, Any]], key: str
) -> NDArray[np.int64]:
    values = _column(path, part, entries, key, _is_whole, "a whole number")
    return np.array(values, dtype=np.int64)


def _boxes(path: Path, annotations: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    wanted = "four numbers, left, top, width and height in pixels,"
    values = _column(path, "annotations", annotations, "bbox", _is_box, wanted)
    return np.array(values, dtype=np.float64).reshape(-1, 4)


def _categories(
    path: Path, entries: Sequence[dict[str, Any]]
) -> tuple[tuple[int, str], ...]:
    ids = _column(path, "categories", entries, "id", _is_whole, "a whole number")
    names = _column(path, "categories", entries, "name", _is_text, "a text")
    for values, what in ((ids, "id"), (names, "name")):
        if again := twice(values):
            raise DataError(
                f"{path}: the {what} {shortened([repr(v) for v in again], 3)} stands "
                "at several categories; give each one of its own"
            )
    return tuple(zip(ids, names, strict=True))


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 63


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(type(number) in (int, float) for number in value)
        and all(abs(number) < 1e15 for number in value)  # neither infinite nor NaN
    )


def _area(annotation: dict[str, Any]) -> float:
    area = annotation.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float):
        return math.nan
    return float(area)


def _has_mask(annotation: dict[str, Any]) -> bool:
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        return bool(mask.get("counts"))
    return isinstance(mask, list) and bool(mask)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number")


_SHAPE = (
    'an annotation file is {"images": [...], "annotations": [...], "categories": '
    "[...]}, as COCO's instances_train2017.json"
)
