"""Features in plain files: written for others, read from anywhere.

    OUT/{train,test}_features.npy    (N, D) float32
    OUT/{train,test}_targets.npy     (N,) int64, or (N, C) int8 with 1 / 0 / -1
    OUT/features.json                what they were made of, where we wrote them

Where several taps are asked for, each has a sub-folder of its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError
from ssl_bench.features.features import Features
from ssl_bench.features.store import write_array
from ssl_bench.files import atomic_write_text

ROLES = ("train", "test")
"""The file names' words for the bank and the queries."""

_HASH_BYTES = 1 << 24


def write_folder(out: Path, splits: Mapping[str, Mapping[str, Features]]) -> list[Path]:
    """Write features as plain files.

    Args:
        out: the folder; made where it is missing.
        splits: per role (``train``, ``test``) the features by tap.

    Returns:
        The files, in the order written.

    Raises:
        FeatureError: when the folder holds features of something else.
    """
    several = len(next(iter(splits.values()))) > 1
    written = []
    for tap in next(iter(splits.values())):
        _claim(out / tap if several else out, {r: splits[r][tap] for r in ROLES})
    for role in ROLES:
        for tap, features in splits[role].items():
            folder = out / tap if several else out
            folder.mkdir(parents=True, exist_ok=True)
            for kind, array in (
                ("features", features.feats_ND),
                ("targets", features.targets),
            ):
                path = folder / f"{role}_{kind}.npy"
                write_array(path, array)
                written.append(path)
    return written


def _claim(folder: Path, features: Mapping[str, Features]) -> None:
    """Make a folder ours before anything is written to it.

    ``features.json`` says of what the files are made. Files of something else are never
    replaced, and files of an earlier call never lie beside some of this one.

    Raises:
        FeatureError: when the folder holds features of something else.
    """
    note_file = folder / "features.json"
    facts = {role: found.fingerprint for role, found in features.items()}
    there = [name for name in _names() if (folder / name).exists()]
    if there:
        try:
            known = json.loads(note_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = None
        if known != facts:
            raise FeatureError(
                f"{folder} holds features of something else ({', '.join(there)}); "
                "remove them, or write to another folder"
            )
    atomic_write_text(note_file, json.dumps(facts))
    for name in there:
        (folder / name).unlink()


def _names() -> list[str]:
    return [f"{r}_{kind}.npy" for r in ROLES for kind in ("features", "targets")]


def read_folder(folder: Path) -> dict[str, Features]:
    """Read ``{train,test}_{features,targets}.npy``, the features memory-mapped.

    Args:
        folder: where the four files are; nothing in them is unpickled.

    Returns:
        Features by role.

    Raises:
        FeatureError: with everything that is missing or does not fit.
    """
    if not folder.is_dir():
        raise FeatureError(
            f"--features {folder} is not a folder; it must hold "
            "{train,test}_features.npy and {train,test}_targets.npy"
        )
    complaints: list[str] = []
    arrays: dict[str, NDArray[Any]] = {}
    for role in ROLES:
        for kind in ("features", "targets"):
            name = f"{role}_{kind}.npy"
            try:
                arrays[name] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
            except FileNotFoundError:
                complaints.append(f"{name} is missing")
            except (OSError, ValueError, EOFError) as error:
                complaints.append(f"{name} is not a readable .npy array ({error})")
    for role in ROLES:
        complaints += _pair_complaints(
            role,
            arrays.get(f"{role}_features.npy"),
            arrays.get(f"{role}_targets.npy"),
        )
    wide = [a.shape for n, a in arrays.items() if n.endswith("features.npy")]
    if len({shape[1:] for shape in wide}) > 1:
        complaints.append(
            f"train and test features differ in dimensions: {wide[0]} and {wide[1]}"
        )
    if complaints:
        raise FeatureError(f"--features {folder}: {'; '.join(complaints)}")
    return {role: _features(folder, role, arrays) for role in ROLES}


def _pair_complaints(
    role: str, feats: NDArray[Any] | None, targets: NDArray[Any] | None
) -> list[str]:
    found = []
    if feats is not None and (feats.ndim != 2 or feats.dtype.kind != "f"):
        found.append(
            f"{role}_features.npy is {feats.dtype} of shape {feats.shape}; need "
            "float32 of shape (images, dimensions)"
        )
    if targets is not None and (
        targets.ndim not in (1, 2) or targets.dtype.kind not in "iu"
    ):
        found.append(
            f"{role}_targets.npy is {targets.dtype} of shape {targets.shape}; need "
            "int64 of shape (images,) or int8 of shape (images, classes)"
        )
    if feats is not None and targets is not None and len(feats) != len(targets):
        found.append(f"{role} has {len(feats)} features but {len(targets)} targets")
    if targets is not None and targets.ndim == 1 and targets.size and targets.min() < 0:
        found.append(f"{role}_targets.npy holds {targets.min()}; classes start at 0")
    return found


def _features(folder: Path, role: str, arrays: Mapping[str, NDArray[Any]]) -> Features:
    feats_ND = arrays[f"{role}_features.npy"]
    targets = np.asarray(arrays[f"{role}_targets.npy"])
    return Features(
        feats_ND=feats_ND if feats_ND.dtype == np.float32 else feats_ND.astype("f4"),
        targets=targets.astype(np.int64) if targets.ndim == 1 else targets,
        tap="given",
        pooling="given",
        dataset=folder.resolve().name,
        split=role,
        fingerprint=_array_digest(feats_ND, targets),
    )


def _array_digest(*arrays: NDArray[Any]) -> str:
    hasher = hashlib.sha256()
    for array in arrays:
        hasher.update(f"{array.dtype.str}{array.shape}".encode())
        rows = max(1, _HASH_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):
            hasher.update(np.ascontiguousarray(array[start : start + rows]).tobytes())
    return hasher.hexdigest()
