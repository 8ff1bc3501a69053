"""Extract features shard by shard, alone or with other processes.

A batch holds the same images whatever happened before and however many processes
work: batch b is images b * B to (b + 1) * B of the data set. Whole batches make a
shard, shards are dealt to the processes, and a shard is placed by its number. A killed
run keeps those that it has finished.

Axes: B batch, C channels, H height, W width, N images, D dimensions.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.backbones import Backbone
from ssl_bench.data import ImageDataset, transforms
from ssl_bench.data.loading import Batch, loader
from ssl_bench.errors import FeatureError
from ssl_bench.features.extraction import DTYPES, Extraction, resolve_device
from ssl_bench.features.runner import Runner, true_fp32
from ssl_bench.features.store import FeatureStore, ShardWriter
from ssl_bench.launch import (
    cores,
    dealt,
    gather,
    meet,
    rank,
    share,
    whoami,
    world,
)
from ssl_bench.progress import Advance, note, progress

_SHARD_IMAGES = 128
_FEW_IMAGES = 256
# A shared file system may show another machine's files this much later.
_SHOWN_LATE = 90.0


def extract_shards(
    backbone: Backbone,
    dataset: ImageDataset,
    keys: Mapping[str, str],
    poolings: Mapping[str, str],
    transform: Sequence[Mapping[str, Any]],
    how: Extraction,
    store: FeatureStore,
) -> None:
    """Compute and finish features; process 0 must hold the locks of their keys.

    Args:
        backbone: it is copied and optimised, never changed.
        dataset: one split.
        keys: of what is missing, by tap.
        poolings: how each tap becomes a vector.
        transform: operations on an image.
        how: device, precision, batch and workers.
        store: where features are kept.

    Raises:
        DataError: for an unreadable image, unless those are skipped.
        FeatureError: when processes do not see the same store.
    """
    total = len(dataset)
    plan, todo, shards = _plan(total, keys, how, store)
    # Process 0 goes first: it drops shards of another plan.
    writers: dict[str, ShardWriter] = {}
    for turn in (rank() == 0, rank() > 0):
        if turn:
            writers = {tap: store.writer(key, plan) for tap, key in keys.items()}
        meet()
    _check_shared(store)
    done = total - sum(len(batch) for number in todo for batch in shards[number])
    if todo and done:
        note(f"{done} of {total} images were done before")
    own = dealt(todo)
    if own:
        _compute(backbone, dataset, own, shards, writers, poolings, transform, how)
    meet()
    if rank() == 0:
        _await(lambda: _has_all(writers, len(shards)), store)
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
    meet()
    if rank() > 0:
        _await(lambda: all(store.path(key).is_dir() for key in keys.values()), store)


def _plan(
    total: int, keys: Mapping[str, str], how: Extraction, store: FeatureStore
) -> tuple[dict[str, int], list[int], list[list[range]]]:
    """Return how the images are cut, which shards are missing, and all shards."""
    plan = {
        "images": total,
        "batch_size": how.batch_size,
        "per_shard": max(1, _SHARD_IMAGES // how.batch_size),
    }
    begun = store.begun(list(keys.values()))
    if begun is not None and begun.get("images") == total and begun != plan:
        note(f"going on with the batch size of {begun['batch_size']} that was begun")
        plan = begun
    plan = share(plan)
    size, per_shard = plan["batch_size"], plan["per_shard"]
    batches = [
        range(start, min(start + size, total)) for start in range(0, total, size)
    ]
    shards = [batches[i : i + per_shard] for i in range(0, len(batches), per_shard)]
    todo: list[int] = []
    if rank() == 0:
        writers = [store.writer(key, plan) for key in keys.values()]
        todo = [n for n in range(len(shards)) if not all(w.has(n) for w in writers)]
    return plan, share(todo), shards


def _compute(
    backbone: Backbone,
    dataset: ImageDataset,
    todo: Sequence[int],
    shards: Sequence[Sequence[range]],
    writers: Mapping[str, ShardWriter],
    poolings: Mapping[str, str],
    transform: Sequence[Mapping[str, Any]],
    how: Extraction,
) -> None:
    """Compute the given shards, those of this process."""
    device = resolve_device(how.device)
    wanted = [list(batch) for number in todo for batch in shards[number]]
    images = sum(map(len, wanted))
    total = len(dataset) if world() == 1 else images
    model = backbone.for_inference(DTYPES[how.dtype], device)
    feed = loader(
        dataset,
        transforms.build(transform),
        wanted,
        workers=_workers(how, images, device.type),
        on_bad_image=how.on_bad_image,
        pin_memory=device.type == "cuda",
    )
    kinds = {tap: poolings[tap] for tap in writers}
    runner = Runner(model, backbone, kinds, DTYPES[how.dtype], device)
    what = f"{backbone.arch} on {dataset.name} {dataset.split}"
    if world() > 1:
        what += f", process {rank()} of {world()}"
    with true_fp32(device), progress(what, total, total - images) as advance:
        stream = iter(feed)
        for number in todo:
            _write_shard(number, len(shards[number]), stream, runner, writers, advance)


def _write_shard(
    number: int,
    batches: int,
    stream: Iterator[Batch],
    runner: Runner,
    writers: Mapping[str, ShardWriter],
    advance: Advance,
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


def _workers(how: Extraction, images: int, device: str) -> int:
    if how.workers is not None:
        return how.workers
    if images <= _FEW_IMAGES:
        return 0
    return min(cores(), 16 if device == "cuda" else 4)


def _has_all(writers: Mapping[str, ShardWriter], shards: int) -> bool:
    return all(w.has(number) for w in writers.values() for number in range(shards))


def _check_shared(store: FeatureStore) -> None:
    """Refuse a store that is another folder on another machine.

    Raises:
        FeatureError: naming the process that does not see what process 0 wrote.
    """
    if world() == 1:
        return
    token = store.root / share(f".shared-{uuid.uuid4().hex}")
    if rank() == 0:
        token.touch()
    meet()
    until = time.monotonic() + 10
    while not (there := token.exists()) and time.monotonic() < until:
        time.sleep(0.2)
    blind = [who for who in gather("" if there else whoami()) if who]
    if rank() == 0:
        token.unlink(missing_ok=True)
    if blind:
        raise FeatureError(
            f"the feature cache {store.root} of {blind[0]} is not the folder of that "
            "name which process 0 writes; set SSL_BENCH_CACHE to a folder on a file "
            "system that all machines share"
        )


def _await(there: Any, store: FeatureStore) -> None:
    """Wait until what another process has written is seen here.

    Raises:
        FeatureError: when it stays away.
    """
    until = time.monotonic() + _SHOWN_LATE
    while not there():
        if world() == 1 or time.monotonic() > until:
            raise FeatureError(
                f"features that were just written are not in {store.root}; run again, "
                "and if they vanish again set SSL_BENCH_CACHE to another folder"
            )
        time.sleep(0.5)
