"""Run a backbone over a data set once and keep what comes out at every tap asked for.

Legend of axes: B batch, C channels, H height, W width, N images, D dimensions.

A batch holds the same images whatever happened before: batch b is images b * B to
(b + 1) * B of the data set. Whole batches make a shard, and shards are what a killed
run keeps.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_bench.backbones import Backbone
from ssl_bench.config import plain
from ssl_bench.data import ImageDataset, transforms
from ssl_bench.data.loading import loader
from ssl_bench.data.roots import cache_dir
from ssl_bench.errors import BenchError, DataError, FeatureError, UsageError, unknown
from ssl_bench.features.features import Features
from ssl_bench.features.runner import Runner, true_fp32
from ssl_bench.features.store import STORE_VERSION, FeatureStore, ShardWriter
from ssl_bench.pooling import check_kind, pooling_kind
from ssl_bench.progress import note, progress
from ssl_bench.results.record import digest

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_SHARD_IMAGES = 128
_FEW_IMAGES = 256


@dataclass(frozen=True)
class Extraction:
    """Say how features are extracted; of these only ``dtype`` can move a number.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: precision of the forward pass; features are kept in float32.
        batch_size: images in one forward pass.
        workers: processes that decode images; None chooses by cores and images.
        on_bad_image: ``error``, or ``skip`` to leave unreadable images out and count
            them.
        verify_data: take cached features only if they were made of these very bytes.
    """

    device: str = "auto"
    dtype: str = "fp32"
    batch_size: int = 64
    workers: int | None = None
    on_bad_image: str = "error"
    verify_data: bool = False

    def complaints(self) -> list[str]:
        """Return what is wrong with these values."""
        found = []
        if self.dtype not in DTYPES:
            found.append(unknown("dtype", self.dtype, DTYPES))
        if self.batch_size < 1:
            found.append(f"batch size {self.batch_size} is not 1 or more")
        if self.workers is not None and self.workers < 0:
            found.append(f"workers {self.workers} is not 0 or more")
        if self.on_bad_image not in ("error", "skip"):
            found.append(
                unknown("bad-image rule", self.on_bad_image, ("error", "skip"))
            )
        return found


def resolve_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes a GPU where there is one.

    Raises:
        BenchError: when the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"unknown device {name!r}; use auto, cpu, cuda or cuda:0"
        ) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise BenchError(
                f"device {name} is not here: {count} GPUs are usable; pass --device "
                "cpu, or look at ssl-bench doctor"
            )
    elif device.type != "cpu":
        raise UsageError(f"device {name!r} is not supported; use auto, cpu or cuda")
    return device


def feature_key(
    backbone: Backbone,
    dataset: ImageDataset,
    tap: str,
    transform: Sequence[Mapping[str, Any]],
    dtype: str,
    data_fingerprint: str,
    pooling: str | None = None,
) -> str:
    """Return the digest of everything that features depend on.

    ``pooling`` is the backbone's own for this tap where it is None.
    """
    return digest(
        {
            "store": STORE_VERSION,
            "weights": backbone.fingerprint,
            "arch": backbone.arch,
            "tap": tap,
            "pooling": pooling or pooling_kind(backbone, tap),
            "data": data_fingerprint,
            "dataset": dataset.name,
            "split": dataset.split,
            "order": _order(dataset),
            "transform": transform_facts(backbone, transform),
            "dtype": dtype,
        }
    )[:32]


def _order(dataset: ImageDataset) -> str:
    """Digest names and targets as they come: the fingerprint does not know the order.

    Rows lie in the order of the data set, so that another order is another file.
    """
    hasher = hashlib.sha256(np.ascontiguousarray(dataset.targets).tobytes())
    for name in dataset.samples:
        hasher.update(os.fsencode(name) + b"\0")
    return hasher.hexdigest()


def transform_facts(
    backbone: Backbone, transform: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what is done to an image before the backbone sees it, for the record."""
    return {
        "operations": plain(list(transform)),
        "mean": list(backbone.input.mean),
        "std": list(backbone.input.std),
    }


def extract_features(
    backbone: Backbone,
    dataset: ImageDataset,
    taps: Sequence[str] = ("final",),
    *,
    transform: str | Sequence[Mapping[str, Any]] | None = None,
    extraction: Extraction | None = None,
    store: FeatureStore | None = None,
    poolings: Mapping[str, str] | None = None,
) -> dict[str, Features]:
    """Extract the features of one split at several taps in one pass.

    Args:
        backbone: from `load_backbone`; it is copied and optimised, never changed.
        dataset: one split, from ``ssl_bench.data.open_dataset``.
        taps: names out of ``backbone.dims``.
        transform: a named transform or a list of ``dict(type=...)``; the data set's own
            test transform by default.
        extraction: device, precision, batch and workers.
        store: where features are kept; below ``$SSL_BENCH_CACHE`` by default.
        poolings: how a tap becomes a vector, by tap, as `ssl_bench.pooling.pool` takes
            it; the backbone's own rule by default.

    Returns:
        Features by tap: float32, (N, D), memory-mapped, one row an image in the order
        of the data set. Features that the store has already are not computed again.

    Raises:
        BenchError: for an unknown tap, pooling, device or transform, an unreadable
            image, or a backbone that gives NaN.
    """
    how = extraction or Extraction()
    if how.complaints():
        raise BenchError("; ".join(how.complaints()))
    backbone.check_taps(taps)
    kinds = _poolings(backbone, taps, poolings or {})
    chosen = (
        transforms.default_spec(dataset.transform_name, backbone.input.size)
        if transform is None
        else transforms.resolve(transform)
    )
    random = transforms.random_operations(chosen)
    if random:
        raise BenchError(
            f"the transform draws at random ({', '.join(random)}); features are kept "
            "under what they were made of, so take operations that always do the same"
        )
    kept = store or FeatureStore(cache_dir())
    data_fingerprint = dataset.fingerprint(contents=how.verify_data)
    keys = {
        tap: feature_key(
            backbone, dataset, tap, chosen, how.dtype, data_fingerprint, kind
        )
        for tap, kind in kinds.items()
    }
    for key in keys.values():
        _retry_skipped(kept, key, dataset)
    missing = [tap for tap in taps if kept.get(keys[tap]) is None]
    if missing:
        with kept.locked([keys[tap] for tap in missing]):
            # Another process may have finished while this one waited for the lock.
            todo = {t: keys[t] for t in missing if kept.get(keys[t]) is None}
            if todo:
                _extract(backbone, dataset, todo, kinds, chosen, how, kept)
    return {tap: _kept(kept, keys[tap], how) for tap in taps}


def _poolings(
    backbone: Backbone, taps: Sequence[str], asked: Mapping[str, str]
) -> dict[str, str]:
    """Return the pooling of every tap, in the order of the taps."""
    for tap, kind in asked.items():
        if tap not in taps:
            raise BenchError(
                f"a pooling {kind} for {tap}, which is none of the taps asked for "
                f"({', '.join(taps)}); ask for that tap too, or leave its pooling out"
            )
        check_kind(kind)
    return {tap: asked.get(tap, pooling_kind(backbone, tap)) for tap in taps}


def _retry_skipped(store: FeatureStore, key: str, dataset: ImageDataset) -> None:
    """Drop finished features that lack an image which can be read by now."""
    features = store.get(key)
    if features is None or not features.skipped:
        return
    for index, name in enumerate(dataset.samples):
        if name in features.skipped:
            try:
                dataset.image(index)
            except DataError:
                continue
            note(f"{name} can be read by now: extracting again")
            store.remove(key)
            return


def _kept(store: FeatureStore, key: str, how: Extraction) -> Features:
    store.tidy(key)
    features = store.get(key)
    if features is None:
        raise FeatureError(f"features {key} vanished from {store.root}; run again")
    if features.skipped and how.on_bad_image == "error":
        name, reason = next(iter(features.skipped.items()))
        raise DataError(
            f"{len(features.skipped)} images cannot be read, first {name}: {reason}; "
            "repair or remove them, or pass --on-bad-image skip"
        )
    return features


def _extract(
    backbone: Backbone,
    dataset: ImageDataset,
    keys: Mapping[str, str],
    poolings: Mapping[str, str],
    transform: Sequence[Mapping[str, Any]],
    how: Extraction,
    store: FeatureStore,
) -> None:
    """Compute what is missing of ``keys`` (tap -> key), shard by shard."""
    device = resolve_device(how.device)
    total = len(dataset)
    plan = {
        "images": total,
        "batch_size": how.batch_size,
        "per_shard": max(1, _SHARD_IMAGES // how.batch_size),
    }
    begun = store.begun(list(keys.values()))
    if begun is not None and begun.get("images") == total and begun != plan:
        note(f"going on with the batch size of {begun['batch_size']} that was begun")
        plan = begun
    size, per_shard = plan["batch_size"], plan["per_shard"]
    batches = [
        range(start, min(start + size, total)) for start in range(0, total, size)
    ]
    shards = [batches[i : i + per_shard] for i in range(0, len(batches), per_shard)]
    writers = {tap: store.writer(key, plan) for tap, key in keys.items()}
    todo = [
        number
        for number in range(len(shards))
        if not all(writer.has(number) for writer in writers.values())
    ]
    if todo:
        wanted = [list(batch) for number in todo for batch in shards[number]]
        done = total - sum(len(batch) for batch in wanted)
        if done:
            note(f"{done} of {total} images were done before")
        model = backbone.for_inference(DTYPES[how.dtype], device)
        feed = loader(
            dataset,
            transforms.build(transform),
            wanted,
            workers=_workers(how, total - done, device),
            on_bad_image=how.on_bad_image,
            pin_memory=device.type == "cuda",
        )
        kinds = {tap: poolings[tap] for tap in keys}
        runner = Runner(model, backbone, kinds, DTYPES[how.dtype], device)
        what = f"{backbone.arch} on {dataset.name} {dataset.split}"
        with true_fp32(device), progress(what, total, done) as advance:
            stream = iter(feed)
            for number in todo:
                _write_shard(
                    number, len(shards[number]), stream, runner, writers, advance
                )
    for tap, writer in writers.items():
        writer.finish(
            len(shards),
            dataset.targets,
            {
                "tap": tap,
                "pooling": poolings[tap],
                "dataset": dataset.name,
                "split": dataset.split,
                "classes": list(dataset.classes),
                "samples": dataset.samples,
            },
        )


def _write_shard(
    number: int,
    batches: int,
    stream: Any,
    runner: Runner,
    writers: Mapping[str, ShardWriter],
    advance: Any,
) -> None:
    rows: dict[str, list[NDArray[np.float32]]] = {tap: [] for tap in writers}
    skipped: dict[int, str] = {}
    for _ in range(batches):
        batch = next(stream)
        skipped.update(dict(batch.bad))
        if len(batch.indices):
            for tap, feats_BD in runner(batch.images_BCHW).items():
                rows[tap].append(feats_BD)
        advance(len(batch.indices) + len(batch.bad))
    for tap, writer in writers.items():
        block_ND = (
            np.concatenate(rows[tap]) if rows[tap] else np.zeros((0, 0), np.float32)
        )
        writer.write(number, block_ND, skipped)


def _workers(how: Extraction, images: int, device: torch.device) -> int:
    if how.workers is not None:
        return how.workers
    cores = len(os.sched_getaffinity(0))
    if images <= _FEW_IMAGES:
        return 0
    return min(cores, 16 if device.type == "cuda" else 4)
