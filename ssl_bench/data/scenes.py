"""digit-scenes: real handwriting on cluttered grounds, made from a seed, no download.

``generate`` places scikit-learn's handwritten digits at random position, scale, turn
and colour on textured grounds and writes them in the layouts of ImageNet, VOC 2007 and
COCO 2017. The same seed gives the same bytes (with one version of Pillow), and picture
number i is the same whatever the counts.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ssl_bench.data import scene_layouts as layouts
from ssl_bench.data.digits import CLASSES
from ssl_bench.data.scene_layouts import SceneCounts
from ssl_bench.errors import DataError, unknown

__all__ = [
    "CLASSES",
    "DEFAULT_SEED",
    "FOLDERS",
    "STYLES",
    "VERSION",
    "SceneCounts",
    "generate",
]

VERSION = 1  # goes up with anything that changes a byte
DEFAULT_SEED = 0
STYLES = ("imagenet", "voc", "coco")
FOLDERS = {"imagenet": "imagenet", "voc": "VOCdevkit", "coco": "coco"}
MANIFEST = "digit-scenes.json"  # in each style's folder: what it was made from

_WRITERS = {
    "imagenet": layouts.write_imagenet,
    "voc": layouts.write_voc,
    "coco": layouts.write_coco,
}


def generate(
    root: Path,
    *,
    seed: int = DEFAULT_SEED,
    counts: SceneCounts = SceneCounts(),  # noqa: B008 - frozen
    styles: Sequence[str] = STYLES,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write digit-scenes below ``root``, whole or not at all.

    Everything is written beside its place, flushed and then renamed, so a folder that
    exists is complete. A style that is already there and was made from the same seed,
    version and counts is left alone; missing ones are added.

    Args:
        root: folder that gets ``imagenet/``, ``VOCdevkit/`` and ``coco/``.
        seed: 0 or more; everything is drawn from it.
        counts: pictures of each split.
        styles: which of "imagenet", "voc" and "coco" to write.
        progress: called with pictures done and pictures in all, after each picture.

    Raises:
        DataError: for an unknown style, a negative seed or count, a folder that holds
            something else, or a disk that cannot be written.
    """
    _check(seed, counts, styles)
    wanted = [style for style in STYLES if style in styles]
    made = {style: _manifest(style, seed, counts) for style in wanted}
    missing = [style for style in wanted if not _is_there(root, style, made[style])]
    total = sum(sum(made[style]["counts"].values()) for style in missing)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    def write(style: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _WRITERS[style](folder, seed, counts, advance)
        text = json.dumps(made[style], indent=1) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")

    def write_all(folder: Path) -> None:
        for style in missing:
            write(style, folder / FOLDERS[style])

    try:
        if missing and not root.exists():
            _publish(root, write_all)
        else:
            for style in missing:
                _publish(root / FOLDERS[style], functools.partial(write, style))
    except OSError as error:
        raise DataError(
            f"digit-scenes cannot be written to {root}: {error.strerror or error}; "
            "choose a folder on a disk that is writable and has 200 MB free"
        ) from error
    # A rename lost to another process: what that one wrote must be what was asked for.
    for style in missing:
        if not _is_there(root, style, made[style]):
            raise DataError(
                f"{root} came to be while digit-scenes was being written and lacks "
                f"{FOLDERS[style]!r}; run the same line again to add it"
            )


def _check(seed: int, counts: SceneCounts, styles: Sequence[str]) -> None:
    if seed < 0:
        raise DataError(
            f"seed {seed} of digit-scenes is negative; give an integer from 0 up"
        )
    for field in fields(counts):
        if getattr(counts, field.name) < 0:
            raise DataError(
                f"{field.name} of digit-scenes is {getattr(counts, field.name)}; "
                "give the number of pictures, 0 or more"
            )
    for style in styles:
        if style not in STYLES:
            raise DataError(unknown("style of digit-scenes", style, STYLES))


def _manifest(style: str, seed: int, counts: SceneCounts) -> dict[str, Any]:
    """Return what a style was made from."""
    mine = {
        name: count
        for name, count in asdict(counts).items()
        if name.startswith(f"{style}_")
    }
    return {
        "dataset": "digit-scenes",
        "style": style,
        "version": VERSION,
        "seed": seed,
        "counts": mine,
    }


def _is_there(root: Path, style: str, wanted: dict[str, Any]) -> bool:
    """Tell whether a style is already in place; refuse anything else in its place."""
    folder = root / FOLDERS[style]
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file; give a folder for digit-scenes")
    if not folder.exists():
        return False
    advice = f"choose another folder, or remove {folder} and run again"
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{folder} exists and was not made by digit-scenes (no readable "
            f"{MANIFEST} in it); {advice}"
        )
    if found != wanted:
        differing = ", ".join(
            f"{key} is {found.get(key)!r} and not {value!r}"
            for key, value in wanted.items()
            if found.get(key) != value
        )
        raise DataError(f"{folder} holds other scenes: {differing}; {advice}")
    return True


def _publish(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside its place, flush it to the disk, and rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        beside.mkdir()
        write(beside)
        _flush(beside)
        try:
            beside.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first: keep its folder
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _flush_one(target.parent)


def _flush(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            _flush_one(Path(place) / name)
        _flush_one(Path(place))


def _flush_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
