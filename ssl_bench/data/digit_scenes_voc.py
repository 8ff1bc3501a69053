"""Digit scenes in the layout of VOC 2007: two to five digits an image, 160 px.

The same data set as `digit_scenes`, for protocols that take several labels an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from ssl_bench.data import scenes
from ssl_bench.data.scene_cache import NAME, cached_root, ensure
from ssl_bench.data.voc07 import YEAR, Voc07
from ssl_bench.errors import DataError


class DigitScenesVoc(Voc07):
    """Read the VOC-style part; without a data root it is made on first use."""

    name = NAME
    transform_name = "small"
    folders = (NAME,)
    layout = (
        "VOCdevkit/VOC2007/{JPEGImages,ImageSets}, as tools/prepare_digit_scenes.py "
        "writes them"
    )
    bundled = True

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether the VOC-style part lies here."""
        return (_part(folder) / "ImageSets").is_dir()

    @classmethod
    def find(cls, data_root: Path | None) -> Path:
        """Return the folder ``VOC2007`` of the VOC-style part; nothing is made.

        Raises:
            DataError: when it is not under ``data_root``, or not made yet.
        """
        if data_root is not None:
            # Not Voc07's: the folder is that of the scenes, not that of a VOCdevkit.
            return _part(super(Voc07, cls).find(data_root))
        root = cached_root()
        if not cls.recognises(root):
            raise DataError(
                f"the VOC style of data set {cls.name} is not in {root} yet; the first "
                "protocol that takes several labels an image makes it, or: python "
                f"tools/prepare_digit_scenes.py {root} --styles voc"
            )
        return _part(root)

    @classmethod
    def open(cls, split: str, data_root: Path | None, **options: Any) -> Self:
        """Open one split, making the data set first where it is not there.

        Raises:
            ConfigError: for an option that the class does not take.
            DataError: when ``data_root`` has none, or the cache cannot be written.
        """
        cls.check_options(split, options)
        if data_root is None:
            ensure("voc")
        return super().open(split, data_root, **options)


def _part(folder: Path) -> Path:
    return folder / scenes.FOLDERS["voc"] / YEAR
