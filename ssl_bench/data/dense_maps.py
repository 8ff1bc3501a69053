"""Label maps: for every image a picture whose values are classes."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from PIL import ExifTags, Image

from ssl_bench.data.dense_split import DenseSplit, absent, first_of, problem
from ssl_bench.data.image_list import shortened
from ssl_bench.errors import DataError
from ssl_bench.progress import progress

Palette = tuple[tuple[int, int, int], ...]
Pairs = tuple[tuple[Path, Path], ...]

VOID = 255
MODES = ("L", "P")
"""Pillow's modes with one byte a pixel."""

_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class LabelMaps(DenseSplit):
    """Hold pairs of an image and its label map.

    Attributes:
        pairs: image and label map, after the limit.
        ignore: the value of pixels that do not count.
        reduce_zero_label: whether 0 does not count either, and classes begin at 1.
        palette: a colour for each class.
    """

    pairs: Pairs
    ignore: int = VOID
    reduce_zero_label: bool = False
    palette: Palette | None = None

    def image_files(self) -> Sequence[Path]:
        """Return the images, after the limit."""
        return [image for image, _ in first_of(self.pairs, self.limit)]

    def label_files(self) -> Sequence[Path]:
        """Return the label maps of these images."""
        return [labels for _, labels in first_of(self.pairs, self.limit)]

    def facts(self) -> dict[str, object]:
        """Return what decides besides files and classes what a value means."""
        return {"ignore": self.ignore, "reduce_zero_label": self.reduce_zero_label}

    def limited(self, limit: int) -> Self:
        """Return the first ``limit`` pairs only.

        Raises:
            DataError: for a limit below 1.
        """
        part = super().limited(limit)
        return dataclasses.replace(part, pairs=self.pairs[:limit])

    def problems(self) -> list[str]:
        """Decode every label map; return a sentence for every sort of problem."""
        sentences: list[str] = []
        there = set(range(len(self)))
        for what, files in (
            ("images", self.image_files()),
            ("label maps", self.label_files()),
        ):
            names = [self.below(path) for path in files]
            lost = set(absent(self.root, names))
            there -= {i for i, name in enumerate(names) if name in lost}
            sentences += problem(
                self.root,
                len(lost),
                len(names),
                f"{what} are missing",
                next((name for name in names if name in lost), ""),
                "restore them, or take their images from the list",
            )
        return sentences + self._inspected([self.pairs[i] for i in sorted(there)])

    def _inspected(self, pairs: Sequence[tuple[Path, Path]]) -> list[str]:
        found: dict[str, list[str]] = defaultdict(list)
        labelled = False
        with (
            ThreadPoolExecutor(_THREADS) as pool,
            progress(f"label maps of {self.split}", len(pairs)) as advance,
        ):
            for wrong, any_label in pool.map(self._inspect, pairs):
                for text, example in wrong.items():
                    found[text].append(example)
                labelled |= any_label
                advance(1)
        sentences = [
            sentence
            for text, examples in found.items()
            for sentence in problem(
                self.root, len(examples), len(pairs), text, examples[0], _MEND
            )
        ]
        if not labelled:
            sentences.append(
                f"{self.root}: none of the {len(self)} label maps has a pixel of a "
                f"class; values from {int(self.reduce_zero_label)} to {self._largest} "
                f"are classes, {self.ignore} does not count"
            )
        return sentences

    def _inspect(self, pair: tuple[Path, Path]) -> tuple[dict[str, str], bool]:
        """Return what is wrong, with an example, and whether a pixel has a class."""
        image, path = pair
        name = self.below(path)
        wrong: dict[str, str] = {}
        size = None
        try:
            size = upright_size(image)
        except DataError as error:
            wrong["images cannot be read"] = str(error)
        try:
            values, map_size = values_of(path)
        except DataError as error:
            return wrong | {"label maps cannot be used": str(error)}, False
        if size is not None and size != map_size:
            wrong["label maps have another size than their image"] = (
                f"{name} of {map_size[0]} x {map_size[1]} for {size[0]} x {size[1]}"
            )
        classes = {v for v in values if v != self.ignore}
        if beyond := sorted(v for v in classes if v > self._largest):
            wrong[f"label maps have values beyond {self._largest}"] = (
                f"{name} with {shortened([str(v) for v in beyond], 5)}"
            )
        if self.reduce_zero_label:
            classes.discard(0)
        return wrong, bool(classes)

    @property
    def _largest(self) -> int:
        return len(self.classes) - 1 + int(self.reduce_zero_label)


_MEND = "correct them, or take them from the list"


def upright_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image as it is seen, from its header.

    Raises:
        DataError: when it cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    except Exception as error:  # decoders raise whatever they please
        raise DataError(f"{path} ({_reason(error)})") from error
    return (height, width) if turned else (width, height)


def values_of(path: Path) -> tuple[list[int], tuple[int, int]]:
    """Decode a label map; return the values in it, ascending, and its size.

    Raises:
        DataError: when it cannot be read, or has more than one byte a pixel.
    """
    try:
        with Image.open(path) as image:
            if image.mode in MODES:
                counts = np.array(image.histogram())
                return np.flatnonzero(counts).tolist(), image.size
            mode = image.mode
    except Exception as error:  # decoders raise whatever they please
        raise DataError(f"{path} ({_reason(error)})") from error
    raise DataError(
        f"{path} of mode {mode}, where a label map has one byte a pixel, mode L or P"
    )


def bit_palette(count: int) -> Palette:
    """Return VOC's colours: the bits of a number, dealt out to red, green and blue."""
    colours: list[tuple[int, int, int]] = []
    for number in range(count):
        parts = [0, 0, 0]
        for bit in range(8):
            parts[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        colours.append((parts[0], parts[1], parts[2]))
    return tuple(colours)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
