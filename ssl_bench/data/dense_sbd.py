"""Make the label maps of the augmented VOC 2012 of the Semantic Boundaries Dataset.

Source: Hariharan et al. 2011, ``benchmark_RELEASE``: ``dataset/cls/<id>.mat`` with
``GTcls.Segmentation``, (H, W) values 0 to 20. MMSegmentation keeps them as
``SegmentationClassAug/<id>.png`` and lists in ``aug.txt`` those that are neither in
VOC's own train list nor in its val list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data.dense_maps import bit_palette
from ssl_bench.data.dense_split import absent, read_ids
from ssl_bench.data.dense_voc_maps import AUGMENTED, CLASSES, LISTS, UNPACK
from ssl_bench.data.image_list import shortened
from ssl_bench.errors import DataError
from ssl_bench.files import atomic_write, atomic_write_text
from ssl_bench.progress import progress

RELEASE = "benchmark_RELEASE"
ADVICE = (
    "download benchmark.tgz of the Semantic Boundaries Dataset "
    "(www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours), "
    f"unpack it, and pass its folder {RELEASE} as --aug DIR"
)


def complete(home: Path, release: Path | None) -> list[str]:
    """Write the label maps and then the list, as far as they are missing.

    Args:
        home: the folder ``VOC2012``.
        release: the folder ``benchmark_RELEASE``; None looks beside ``VOC2012`` and
            ``VOCdevkit``.

    Returns:
        A sentence for everything that was written.

    Raises:
        DataError: when maps are missing and cannot be made.
        BenchError: where nothing can be written.
    """
    target, path = home / AUGMENTED, home / LISTS / "aug.txt"
    source = _source(home, release)
    there = path.is_file()
    ids = read_ids(path, "remove it, to have it made") if there else _new(home, source)
    names = [f"{name}.png" for name in ids]
    lost = [Path(name).stem for name in absent(target, names)]
    said: list[str] = []
    if lost:
        _convert(lost, source, target)
        said.append(f"wrote {len(lost)} label maps into {target}")
    if not there:
        atomic_write_text(path, "".join(f"{name}\n" for name in ids))
        said.append(f"wrote {path} with {len(ids)} images")
    return said


def read_mat(path: Path) -> NDArray[np.uint8]:
    """Read (H, W) classes of a ``.mat`` file of the release; nothing is executed.

    Raises:
        DataError: for a file without them.
    """
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(
            path, squeeze_me=True, struct_as_record=False, variable_names=["GTcls"]
        )
        classes = np.atleast_2d(np.asarray(content["GTcls"].Segmentation))
    except Exception as error:  # the reader raises whatever it pleases
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"cannot read GTcls.Segmentation of {path}: {text[0]}; unpack "
            "benchmark.tgz again"
        ) from error
    kind, largest = classes.dtype.kind, len(CLASSES) - 1
    if kind not in "iuf" or classes.ndim != 2 or not classes.size:
        raise DataError(
            f"GTcls.Segmentation of {path} is {classes.dtype} of shape "
            f"{classes.shape}, no map of numbers; unpack benchmark.tgz again"
        )
    if classes.min() < 0 or classes.max() > largest or (classes % 1).any():
        raise DataError(
            f"GTcls.Segmentation of {path} has values from {classes.min()} to "
            f"{classes.max()}, where 0 to {largest} are classes; unpack benchmark.tgz "
            "again"
        )
    return classes.astype(np.uint8)


def _source(home: Path, release: Path | None) -> Path | None:
    """Return the folder of the ``.mat`` files, None where there is none."""
    if release is None:
        above = (home.parent, home.parent.parent)
        places = [folder / name for folder in above for name in (RELEASE, "VOCaug")]
    else:
        places = [release, release / RELEASE]
    for place in places:
        if (place / "dataset" / "cls").is_dir():
            return place / "dataset" / "cls"
    if release is not None:
        raise DataError(f"{release} has no dataset/cls/ with .mat files; {ADVICE}")
    return None


def _new(home: Path, source: Path | None) -> list[str]:
    """Return the images that have a map and are in neither list of VOC's own."""
    known = {
        name
        for part in ("train", "val")
        for name in read_ids(home / LISTS / f"{part}.txt", UNPACK)
    }
    folder, end = (home / AUGMENTED, ".png") if source is None else (source, ".mat")
    try:
        found = {p.stem for p in folder.iterdir() if p.suffix == end}
    except OSError:
        found = set()
    if ids := sorted(name for name in found - known if not name.startswith(".")):
        return ids
    raise DataError(
        f"{home / LISTS / 'aug.txt'} is missing, and {folder} has no *{end} to make it "
        f"of; {ADVICE}"
    )


def _convert(ids: list[str], source: Path | None, target: Path) -> None:
    lost = ids if source is None else absent(source, [f"{name}.mat" for name in ids])
    if source is None or lost:
        where = "" if source is None else f", nor in {source}"
        raise DataError(
            f"{len(lost)} label maps are not in {target}{where}: {shortened(lost, 3)}; "
            f"{ADVICE}"
        )
    palette = [part for colour in bit_palette(256) for part in colour]
    with progress("label maps", len(ids)) as advance:
        for name in ids:
            image = Image.fromarray(read_mat(source / f"{name}.mat"))
            image.putpalette(palette)
            with atomic_write(target / f"{name}.png") as beside:
                image.save(beside, "PNG")
            advance(1)
