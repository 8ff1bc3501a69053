"""The data sets there are, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_bench.data.image_list import ImageDataset
from ssl_bench.errors import DataError, unknown
from ssl_bench.registry import DATASETS, discover

PACKAGE = "ssl_bench.data"
MARKER = "DATASET"


def names() -> list[str]:
    """Return the names of all data sets, those of other packages included."""
    return sorted(_classes())


def get_dataset(name: str, *, several: bool = False) -> type[ImageDataset]:
    """Return the class of a data set.

    Args:
        name: one of `names`.
        several: for a protocol that takes several labels an image: the class that reads
            them, where the data set has one beside its own.

    Raises:
        DataError: for a name that nobody knows, with the nearest ones.
    """
    known = _classes()
    if name not in known:
        raise DataError(unknown("data set", name, known))
    found = known[name]
    return found.several or found if several else found


def find_root(
    name: str, data_root: Path | str | None = None, *, several: bool = False
) -> Path:
    """Return the folder of a data set; nothing is written or generated.

    Args:
        name: one of `names`.
        data_root: the folder itself or the one above it; None looks below
            ``$SSL_BENCH_DATA`` and ``./data``.
        several: as for `get_dataset`.

    Raises:
        DataError: when it is not there, with the line to type.
    """
    return get_dataset(name, several=several).find(_as_path(data_root))


def open_dataset(
    name: str,
    split: str,
    data_root: Path | str | None = None,
    *,
    several: bool = False,
    **options: Any,
) -> ImageDataset:
    """Open one split of a data set.

    Args:
        name: one of `names`.
        split: one of the data set's ``splits``.
        data_root: as for `find_root`.
        several: as for `get_dataset`.
        options: what the data set's class takes besides.

    Raises:
        ConfigError: for an option that the data set does not have.
        DataError: for an unknown name or split, or when the data are missing, empty or
            inconsistent.
    """
    kind = get_dataset(name, several=several)
    return kind.open(split, _as_path(data_root), **options)


def _as_path(data_root: Path | str | None) -> Path | None:
    return None if data_root is None else Path(data_root)


def _classes() -> dict[str, type[ImageDataset]]:
    discover(PACKAGE, MARKER)  # importing a file registers its class
    # Only our own registry: its parents hold OpenMMLab's data sets.
    return {
        name: found
        for name, found in DATASETS.module_dict.items()
        if isinstance(found, type) and issubclass(found, ImageDataset)
    }
