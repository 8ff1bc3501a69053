"""Run a backbone over a data set once and keep what comes out at every tap asked for.

``shards`` does the work; here are the key of what comes out, and the way around it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ssl_bench.backbones import Backbone
from ssl_bench.config import plain
from ssl_bench.data import ImageDataset, transforms
from ssl_bench.data.roots import cache_dir
from ssl_bench.errors import BenchError, DataError, FeatureError
from ssl_bench.features.extraction import Extraction
from ssl_bench.features.features import Features
from ssl_bench.features.shards import extract_shards
from ssl_bench.features.store import STORE_VERSION, FeatureStore
from ssl_bench.launch import agree, rank, share
from ssl_bench.pooling import check_kind, pooling_kind
from ssl_bench.progress import note
from ssl_bench.results.record import digest


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
    agree(digest(keys), f"{dataset.name} {dataset.split} or the backbone")
    if rank() == 0:
        for key in keys.values():
            _retry_skipped(kept, key, dataset)
    missing = share([tap for tap in taps if kept.get(keys[tap]) is None])
    if missing:
        with ExitStack() as stack:
            if rank() == 0:
                stack.enter_context(kept.locked([keys[tap] for tap in missing]))
            # Another job may have finished while this one waited for the lock.
            todo = share({t: keys[t] for t in missing if kept.get(keys[t]) is None})
            if todo:
                extract_shards(backbone, dataset, todo, kinds, chosen, how, kept)
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
    if rank() == 0:
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
