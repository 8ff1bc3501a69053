"""Digit scenes: handwritten digits on cluttered backgrounds, made on this machine.

The one data set that is always there. `scenes` draws it from a seed; here it is kept in
the cache, one style at a time, and read like ImageNet: one digit an image, 10 classes,
96 px. Protocols for several labels an image take the VOC style, `digit_scenes_voc`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from ssl_bench.data import scenes
from ssl_bench.data.digit_scenes_voc import DigitScenesVoc
from ssl_bench.data.imagenet import ImageNet
from ssl_bench.data.scene_cache import NAME, cached_root, ensure
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

__all__ = ["DATASET", "DigitScenes", "cached_root", "ensure"]

DATASET = NAME


@DATASETS.register_module(name=DATASET)
class DigitScenes(ImageNet):
    """Read the ImageNet-style part; without a data root it is made on first use."""

    name = DATASET
    transform_name = "small"
    folders = (DATASET,)
    layout = "imagenet/{meta,train,val}, as tools/prepare_digit_scenes.py writes them"
    bundled = True
    several = DigitScenesVoc

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
