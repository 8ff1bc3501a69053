"""Features on disk: whole or not at all, extracted once, resumed where they stopped.

Under the store's root each key has

    <key>/           features.npy, targets.npy, meta.json     existence means complete
    <key>.partial/   plan.json, shard-00000.npy + .json ...   while it is being written
    <key>.lock       held by the process that writes, as `ssl_bench.locks` says

A shard is written beside its name, synced and renamed; the finished folder appears by
one rename.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import BenchError, FeatureError
from ssl_bench.features.features import Features
from ssl_bench.files import atomic_write, atomic_write_text, check_writable, sync_dir
from ssl_bench.locks import locked

_WRITTEN = 64 << 20
"""Bytes that are copied at a time."""

STORE_VERSION = 1
"""Part of every key: features written by another layout are never read as ours."""


class FeatureStore:
    """Keep features under a folder, one sub-folder a key."""

    def __init__(self, root: Path) -> None:
        self.root = root / "features"

    def path(self, key: str) -> Path:
        """Return the folder that holds the finished features of ``key``."""
        return self.root / key

    def get(self, key: str) -> Features | None:
        """Return the finished features of ``key``, memory-mapped, or None.

        Raises:
            FeatureError: when the finished folder is damaged.
        """
        folder = self.path(key)
        if not folder.is_dir():
            return None
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            feats_ND = np.load(folder / "features.npy", mmap_mode="r")
            targets = np.load(folder / "targets.npy")
            return Features(
                feats_ND=feats_ND,
                targets=targets,
                tap=meta["tap"],
                pooling=meta["pooling"],
                dataset=meta["dataset"],
                split=meta["split"],
                fingerprint=key,
                classes=tuple(meta["classes"]),
                skipped=meta["skipped"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FeatureError(
                f"cached features {folder} are damaged ({error}); remove that folder "
                "and run again"
            ) from error

    @contextmanager
    def locked(self, keys: Sequence[str]) -> Iterator[None]:
        """Hold the locks of ``keys``; wait, and say so, while another process has one.

        They are taken in sorted order, so that two processes never wait for each other.
        """
        try:
            check_writable(self.root)
        except BenchError as error:
            raise FeatureError(
                f"the feature cache {self.root} cannot be written ({error}); set "
                "SSL_BENCH_CACHE to a folder that can"
            ) from error
        with ExitStack() as stack:
            for key in sorted(keys):
                lock = self.root / f"{key}.lock"
                stack.enter_context(locked(lock, "extracts the same features"))
            yield

    def remove(self, key: str) -> None:
        """Take the finished features of ``key`` away; nobody sees half of them."""
        with self.locked([key]):
            away = self.root / f"{key}.removed"
            shutil.rmtree(away, ignore_errors=True)
            if self.path(key).is_dir():
                self.path(key).rename(away)
                shutil.rmtree(away, ignore_errors=True)

    def begun(self, keys: Sequence[str]) -> dict[str, int] | None:
        """Return the plan by which all of ``keys`` were begun; None if they differ."""
        found = []
        for key in keys:
            try:
                text = (partial_folder(self.path(key)) / "plan.json").read_text("utf-8")
                plan = json.loads(text)
            except (OSError, ValueError):
                return None
            found.append(plan)
        whole = all(
            isinstance(plan, dict)
            and set(plan) == {"images", "batch_size", "per_shard"}
            and all(type(value) is int and value > 0 for value in plan.values())
            for plan in found
        )
        return found[0] if whole and all(plan == found[0] for plan in found) else None

    def tidy(self, key: str) -> None:
        """Remove shards that outlived their finished features: a kill came between."""
        leftover = partial_folder(self.path(key))
        if leftover.exists() and self.path(key).is_dir():
            with self.locked([key]):
                shutil.rmtree(leftover, ignore_errors=True)

    def writer(self, key: str, plan: Mapping[str, Any]) -> ShardWriter:
        """Return the writer of ``key``; its lock must be held.

        Args:
            key: what is being extracted.
            plan: how it is cut into shards; shards of another plan are dropped.
        """
        return ShardWriter(self.path(key), plan)


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one .npy file, whole or not at all.

    Raises:
        BenchError: if the folder cannot be written.
    """
    rows = max(1, _WRITTEN // max(1, array[:1].nbytes))
    # Not np.save to the file: on a full disk its C buffer loses the end and is silent.
    with atomic_write(path) as beside, beside.open("wb") as file:
        _write_header(file, array.dtype, array.shape)
        for start in range(0, len(array), rows):
            file.write(array[start : start + rows].tobytes())


def partial_folder(final: Path) -> Path:
    """Return where the shards of a finished folder are while it is being written."""
    return final.with_name(final.name + ".partial")


class ShardWriter:
    """Write the shards of one key and put them together at the end."""

    def __init__(self, final: Path, plan: Mapping[str, Any]) -> None:
        self.final = final
        self.folder = partial_folder(final)
        text = json.dumps(plan, sort_keys=True)
        plan_file = self.folder / "plan.json"
        if self.folder.exists() and (
            not plan_file.is_file() or plan_file.read_text(encoding="utf-8") != text
        ):
            # Without a plan the rest is never taken for shards, killed here or not.
            plan_file.unlink(missing_ok=True)
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not plan_file.exists():
            atomic_write_text(plan_file, text)

    def _shard(self, number: int) -> Path:
        return self.folder / f"shard-{number:06d}.npy"

    def has(self, number: int) -> bool:
        """Whether the shard is there, whole."""
        path = self._shard(number)
        return path.with_suffix(".json").exists() and path.exists()

    def write(
        self, number: int, feats_ND: NDArray[np.float32], skipped: Mapping[int, str]
    ) -> None:
        """Write one shard.

        Args:
            number: its place, from 0.
            feats_ND: the rows of the images that could be read, in order.
            skipped: index in the data set and reason for each that could not.
        """
        path = self._shard(number)
        write_array(path, np.ascontiguousarray(feats_ND, dtype=np.float32))
        notes = {str(index): reason for index, reason in skipped.items()}
        atomic_write_text(path.with_suffix(".json"), json.dumps(notes))

    def finish(
        self, shards: int, targets: NDArray[Any], meta: Mapping[str, Any]
    ) -> None:
        """Join the shards and let the finished folder appear.

        Args:
            shards: how many there are.
            targets: (N,) or (N, C) of every image, also of those that were skipped.
            meta: tap, pooling, dataset, split, classes and sample names.
        """
        skipped: dict[int, str] = {}
        for number in range(shards):
            path = self._shard(number).with_suffix(".json")
            notes = json.loads(path.read_text(encoding="utf-8"))
            skipped.update({int(index): reason for index, reason in notes.items()})
        kept = np.setdiff1d(np.arange(len(targets)), list(skipped), assume_unique=True)
        names = meta["samples"]
        described = {key: value for key, value in meta.items() if key != "samples"}
        described["skipped"] = {names[i]: skipped[i] for i in sorted(skipped)}

        whole = self.final.with_name(self.final.name + ".whole")
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        self._join(whole / "features.npy", shards, len(kept))
        write_array(whole / "targets.npy", targets[kept])
        atomic_write_text(whole / "meta.json", json.dumps(described))
        try:
            whole.rename(self.final)
        except OSError:
            if not self.final.is_dir():
                raise
            # Of two that did the same, because a suspended one lost its lock, the
            # first one's stay.
            shutil.rmtree(whole, ignore_errors=True)
        sync_dir(self.final.parent)
        self.discard()

    def discard(self) -> None:
        """Remove the shards; the finished folder, where there is one, stays."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _join(self, out: Path, shards: int, rows: int) -> None:
        blocks = [np.load(self._shard(n), mmap_mode="r").shape for n in range(shards)]
        if sum(shape[0] for shape in blocks) != rows:
            raise FeatureError(
                f"{sum(shape[0] for shape in blocks)} feature rows for {rows} images "
                f"in {self.folder}; remove that folder and run again"
            )
        dims = next((shape[1] for shape in blocks if shape[0]), 0)
        # Plain writes: a mapped file would end the process when the disk is full.
        with atomic_write(out) as beside, beside.open("wb") as file:
            _write_header(file, np.dtype("<f4"), (rows, dims))
            for number in range(shards):
                file.write(np.load(self._shard(number)).tobytes())
