"""Digit scenes: handwritten digits on cluttered backgrounds, made on this machine.

The one data set that is always there. `scenes` draws it from a seed; here it is kept in
the cache, one style at a time, and read like ImageNet: one digit an image, 10 classes,
96 px.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from ssl_bench.data import roots, scenes
from ssl_bench.data.imagenet import ImageNet
from ssl_bench.errors import DataError
from ssl_bench.progress import note, progress
from ssl_bench.registry import DATASETS

DATASET = "digit-scenes"


@DATASETS.register_module(name=DATASET)
class DigitScenes(ImageNet):
    """Read the ImageNet-style part; without a data root it is made on first use."""

    name = DATASET
    transform_name = "small"
    folders = (DATASET,)
    layout = "imagenet/{meta,train,val}, as tools/prepare_digit_scenes.py writes them"
    bundled = True

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether the ImageNet-style part lies here."""
        return (folder / scenes.FOLDERS["imagenet"] / "meta").is_dir()

    @classmethod
    def find(cls, data_root: Path | None) -> Path:
        """Return the folder of the ImageNet-style part; nothing is made.

        Raises:
            DataError: when it is not under ``data_root``, or not made yet.
        """
        if data_root is not None:
            return super().find(data_root) / scenes.FOLDERS["imagenet"]
        root = cached_root()
        if not cls.recognises(root):
            raise DataError(
                f"data set {cls.name} is not in {root} yet; the first use makes it: "
                f"ssl-bench knn --dataset {cls.name}"
            )
        return root / scenes.FOLDERS["imagenet"]

    @classmethod
    def open(cls, split: str, data_root: Path | None, **options: Any) -> Self:
        """Open one split, making the data set first where it is not there.

        Raises:
            ConfigError: for an option that the class does not take.
            DataError: when ``data_root`` has none, or the cache cannot be written.
        """
        cls.check_options(split, options)
        if data_root is None:
            ensure("imagenet")
        return super().open(split, data_root, **options)


def cached_root(seed: int = scenes.DEFAULT_SEED) -> Path:
    """Return where the scenes of this version and seed are kept; it need not exist."""
    return roots.cache_dir() / f"{DATASET}-v{scenes.VERSION}-seed{seed}"


def ensure(style: str, seed: int = scenes.DEFAULT_SEED) -> Path:
    """Make one style of the scenes in the cache, unless it is there.

    Two processes that ask at once do the work once; a killed one leaves nothing that is
    taken for complete.

    Args:
        style: ``imagenet``, ``voc`` or ``coco``.
        seed: of the generator.

    Returns:
        The folder of that style, complete.

    Raises:
        DataError: when the cache cannot be written.
    """
    root = cached_root(seed)
    place = root / scenes.FOLDERS[style]
    if place.is_dir():
        return place
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / ".lock"):
            if not place.is_dir():
                _generate(root, style, seed)
    except OSError as error:
        raise DataError(
            f"cannot write the bundled {DATASET} into {root}: "
            f"{error.strerror or error}; set {roots.CACHE_VARIABLE} to a folder with "
            "some 100 MB free"
        ) from error
    return place


def _generate(root: Path, style: str, seed: int) -> None:
    note(f"making the bundled {DATASET} ({style}) in {root}, once")
    counts = scenes.SceneCounts()
    pictures = {k: n for k, n in asdict(counts).items() if k.startswith(f"{style}_")}
    with progress(DATASET, sum(pictures.values())) as advance:
        scenes.generate(
            root,
            seed=seed,
            counts=counts,
            styles=(style,),
            progress=lambda done, total: advance(1),
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
