"""Low-shot draws: a few images of each class to train on, the others left out.

Axes: N images, C classes. Targets are 1 (shows the class), 0 (does not) and -1 (says
nothing: difficult, or outside the draw).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import DataError


def draw(
    targets_NC: NDArray[np.integer[Any]], *, seed: int, sample: int, shots: int
) -> NDArray[np.int8]:
    """Draw images to train on, for every class apart from the others.

    For class c, with the generator ``numpy.random.RandomState([seed, sample, shots,
    c])``: of ``permutation`` of the images with target 1, in ascending order, the first
    ``shots`` become 1; then of ``permutation`` of those with target 0 the first
    (C - 1) * ``shots`` become 0. All are taken where there are fewer. Every other image
    becomes -1.

    ``RandomState`` and not the newer ``Generator``: numpy promises its stream for ever
    (NEP 19), so that a seed names the same images under every version.

    Source: the amounts are those of facebookresearch/fair_self_supervision_benchmark,
        extra_scripts/create_voc_low_shot_challenge_samples.py, which has no seed.

    Args:
        targets_NC: (N, C) targets of 1, 0 or -1.
        seed: from 0, below 2^32.
        sample: which of several draws, from 0.
        shots: positives a class, at least 1.

    Returns:
        (N, C) targets of the draw.
    """
    classes = targets_NC.shape[1]
    drawn_NC = np.full(targets_NC.shape, -1, dtype=np.int8)
    for c in range(classes):
        rng = np.random.RandomState([seed, sample, shots, c])
        positives = rng.permutation(np.flatnonzero(targets_NC[:, c] == 1))
        negatives = rng.permutation(np.flatnonzero(targets_NC[:, c] == 0))
        drawn_NC[positives[:shots], c] = 1
        drawn_NC[negatives[: (classes - 1) * shots], c] = 0
    return drawn_NC


def draw_digest(draws: Iterable[NDArray[np.int8]]) -> str:
    """Return the sha256 of several draws, in their order, as 64 hexadecimal digits.

    Of each draw the text ``(N, C)`` is hashed and then its bytes, row by row.
    """
    hasher = hashlib.sha256()
    for drawn_NC in draws:
        hasher.update(f"{drawn_NC.shape}".encode())
        hasher.update(drawn_NC.astype(np.int8).tobytes())
    return hasher.hexdigest()


def shortages(
    targets_NC: NDArray[np.integer[Any]], classes: Sequence[str], shots: Sequence[int]
) -> list[str]:
    """Say which classes have fewer positives than a draw asks for.

    Args:
        targets_NC: (N, C) targets of 1, 0 or -1.
        classes: C names, in the order of the columns.
        shots: positives a class that draws will ask for.

    Returns:
        One sentence for each such class, in the order of the columns.
    """
    found = []
    for c, name in enumerate(classes):
        positives = int(np.count_nonzero(targets_NC[:, c] == 1))
        short = [str(k) for k in sorted(set(shots)) if k > positives]
        if short and positives == 0:
            found.append(f"class {name!r} has no positive image to draw")
        elif short:
            found.append(
                f"class {name!r} has {positives} positive image"
                f"{'' if positives == 1 else 's'}, too few for k = {', '.join(short)}"
            )
    return found


def sample_file(sample: int, shots: int) -> str:
    """Return the name of a distributed draw; ``sample`` counts from 0, files from 1."""
    return f"train_targets_sample{sample + 1}_k{shots}.npy"


def files_digest(folder: Path, *, samples: int, shots: Sequence[int]) -> str:
    """Return the sha256 over the content of a folder's files, in a fixed order.

    Raises:
        DataError: when a file is missing or cannot be read.
    """
    hasher = hashlib.sha256()
    for k in shots:
        for sample in range(samples):
            path = folder / sample_file(sample, k)
            try:
                hasher.update(path.read_bytes())
            except OSError as error:
                raise DataError(
                    f"low-shot targets: {path} cannot be read: "
                    f"{error.strerror or error}"
                ) from error
    return hasher.hexdigest()


def read_sample_files(
    folder: Path, *, samples: int, shots: Sequence[int], images: int, classes: int
) -> dict[tuple[int, int], NDArray[np.int8]]:
    """Read draws as FAIR distributes them: ``train_targets_sample{1..}_k{k}.npy``.

    Source: facebookresearch/fair_self_supervision_benchmark, iccv_challenge/
        low_shot_voc07/low_shot_train; 40 files of int32 (5011, 20), rows by sorted
        image id, columns by sorted class.

    Args:
        folder: where the files are; nothing in them is unpickled.
        samples: draws for each k; files count them from 1.
        shots: the k of which there are files.
        images: N, rows of each file.
        classes: C, columns of each file.

    Returns:
        (N, C) targets of 1, 0 or -1 by (sample, k); samples count from 0.

    Raises:
        DataError: with everything that is missing or does not fit.
    """
    if not folder.is_dir():
        raise DataError(
            f"low-shot targets: {folder} is not a folder; it must hold "
            f"{sample_file(0, min(shots))} and the like"
        )
    found: dict[tuple[int, int], NDArray[np.int8]] = {}
    missing: list[str] = []
    complaints: list[str] = []
    for sample in range(samples):
        for k in shots:
            name = sample_file(sample, k)
            try:
                # Unlike np.load it knows neither archives nor pickles.
                array = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
                    folder / name, mode="r"
                )
            except FileNotFoundError:
                missing.append(name)
                continue
            except (OSError, ValueError, EOFError) as error:
                complaints.append(f"{name} is not a readable .npy array ({error})")
                continue
            complaint = _complaint(array, (images, classes))
            if complaint:
                complaints.append(f"{name} {complaint}")
            else:
                found[sample, k] = np.array(array, dtype=np.int8)
    if missing:
        complaints.insert(0, f"missing are {', '.join(missing)}")
    if complaints:
        raise DataError(
            f"low-shot targets in {folder}: {'; '.join(complaints)}; needed are the "
            "files of low_shot_voc07/low_shot_train from FAIR's benchmark"
        )
    return found


def _complaint(array: NDArray[Any], shape: tuple[int, int]) -> str:
    if array.shape != shape or array.dtype.kind != "i":
        return (
            f"is {array.dtype} of shape {array.shape}; need int32 of shape {shape}, "
            "(images, classes)"
        )
    strange = array[(array < -1) | (array > 1)]
    if strange.size:
        return f"holds {strange[0]}; need 1, 0 and -1 alone"
    return ""
