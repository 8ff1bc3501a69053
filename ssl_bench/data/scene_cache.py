"""Where digit-scenes are kept on this machine, and how they come to be there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ssl_bench.data import roots, scenes
from ssl_bench.errors import DataError
from ssl_bench.locks import locked
from ssl_bench.progress import note, progress

NAME = "digit-scenes"


def cached_root(seed: int = scenes.DEFAULT_SEED) -> Path:
    """Return where the scenes of this version and seed are kept; it need not exist."""
    return roots.cache_dir() / f"{NAME}-v{scenes.VERSION}-seed{seed}"


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
        with locked(root / ".lock", "makes the same scenes"):
            if not place.is_dir():
                _generate(root, style, seed)
    except OSError as error:
        raise DataError(
            f"cannot write the bundled {NAME} into {root}: "
            f"{error.strerror or error}; set {roots.CACHE_VARIABLE} to a folder with "
            "some 100 MB free"
        ) from error
    return place


def _generate(root: Path, style: str, seed: int) -> None:
    note(f"making the bundled {NAME} ({style}) in {root}, once")
    counts = scenes.SceneCounts()
    pictures = {k: n for k, n in asdict(counts).items() if k.startswith(f"{style}_")}
    with progress(NAME, sum(pictures.values())) as advance:
        scenes.generate(
            root,
            seed=seed,
            counts=counts,
            styles=(style,),
            progress=lambda done, total: advance(1),
        )
