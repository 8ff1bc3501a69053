"""Where data sets and caches lie on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_bench.errors import DataError

DATA_VARIABLE = "SSL_BENCH_DATA"
CACHE_VARIABLE = "SSL_BENCH_CACHE"


def cache_dir() -> Path:
    """Return ``$SSL_BENCH_CACHE``, or ``~/.cache/ssl_bench``; it need not exist."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "ssl_bench"


def find(
    name: str,
    folders: Sequence[str],
    data_root: Path | None,
    recognises: Callable[[Path], bool],
    layout: str,
) -> Path:
    """Find the folder of a data set.

    Args:
        name: the data set, for messages.
        folders: its places below a data root, in the order they are tried.
        data_root: what the user gave: the folder itself, or the one above it. None
            looks below ``$SSL_BENCH_DATA`` and then below ``./data``.
        recognises: whether a folder looks like this data set.
        layout: the files that are expected, for messages.

    Raises:
        DataError: with the places that were looked at and the line to type.
    """
    if data_root is not None and not data_root.expanduser().is_dir():
        raise DataError(
            f"--data-root {data_root} is not a folder; data set {name} is expected "
            f"there or in {' or '.join(str(data_root / f) for f in folders)}: {layout}"
        )
    places = _places(folders, data_root)
    for place in places:
        if place.is_dir() and recognises(place):
            return place
    advice = (
        f"pass --data-root DIR or set {DATA_VARIABLE}"
        if data_root is None
        else "pass the folder that holds it as --data-root DIR"
    )
    raise DataError(
        f"data set {name} is not under {' or '.join(map(str, places))}; {advice}; "
        f"expected layout: {layout}"
    )


def _places(folders: Sequence[str], data_root: Path | None) -> list[Path]:
    if data_root is not None:
        base = data_root.expanduser()
        return [base, *(base / folder for folder in folders)]
    # Not the bases themselves: a data/train of something else is not ImageNet.
    given = os.environ.get(DATA_VARIABLE)
    bases = [Path(given).expanduser()] if given else []
    return [base / f for base in [*bases, Path("data")] for f in folders]
