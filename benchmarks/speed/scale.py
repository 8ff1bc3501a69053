"""Cost against size: extraction, k-NN and the store at 1, 10 and 100 thousand images.

Images are links to a few hundred small JPEG files and the backbone is tiny: what grows
with the number of images is to be seen, not the network. The slope is the exponent of a
power of the size, fitted to the sizes: 1 is linear. docs/scale.md says from it what a
larger set would cost.

    python -m benchmarks.speed.scale
    python -m benchmarks.speed.scale --sizes 300 1000 3000     # a quick look
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.speed import measure
from ssl_bench import data
from ssl_bench.backbones import build
from ssl_bench.features import Extraction, FeatureStore, extract_features
from ssl_bench.results.record import Identity, Metric, Record
from ssl_bench.results.store import RecordStore
from ssl_bench.solvers import knn

ARCH = "resnet18-w8"
SIDE = 64
FILES = 200
CLASSES = 100
QUERIES = 1000
DIM = 512
SEED = 0


def write_images(root: Path, count: int) -> Path:
    """Lay out ``count`` names in class folders, each a link to one of a few files."""
    rng = np.random.default_rng(SEED)
    originals = root / "files"
    originals.mkdir(parents=True)
    for i in range(FILES):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(originals / f"{i}.jpg")
    photos = root / "photos"
    for split, images in (("train", count), ("val", CLASSES)):
        for i in range(images):
            folder = photos / split / f"{i % CLASSES:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            os.link(originals / f"{i % FILES}.jpg", folder / f"{i}.jpg")
    return photos


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    clock = time.perf_counter()
    found = work()
    return time.perf_counter() - clock, found


def at_size(count: int) -> dict[str, float]:
    """Measure everything at one number of images."""
    found: dict[str, float] = {}
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        root = write_images(Path(folder), count)
        found["open the data set"], train = timed(
            lambda: data.open_dataset("folder", "train", root)
        )
        found["fingerprint"], _ = timed(train.fingerprint)
        backbone = build(ARCH, seed=SEED)
        store = FeatureStore(Path(folder) / "cache")

        def extract() -> Any:
            how = Extraction(device="cpu", batch_size=64)
            return extract_features(
                backbone, train, transform="small", extraction=how, store=store
            )

        with measure.peak_memory(0.05) as peak:
            found["extract"], _ = timed(extract)
        found["extract, peak MB"] = peak.above / 1e6
        found["take from the store"], _ = timed(extract)
        bank_ND = np.lib.format.open_memmap(
            Path(folder) / "bank.npy", "w+", np.float32, (count, DIM)
        )
        for start in range(0, count, 10_000):
            block = bank_ND[start : start + 10_000]
            block[:] = rng.standard_normal(block.shape, dtype=np.float32)
        bank_ND.flush()
        queries = rng.standard_normal((QUERIES, DIM), dtype=np.float32)
        with measure.peak_memory(0.05) as peak:
            found["k-NN"], _ = timed(
                lambda: knn.search(
                    *(queries, np.load(Path(folder) / "bank.npy", mmap_mode="r"), 200),
                    metric="cosine",
                    backend=knn.default_backend("cpu"),
                    device="cpu",
                    query_chunk=16384,
                    bank_chunk=32768,
                    leave_one_out=False,
                )
            )
        found["k-NN, peak MB"] = peak.above / 1e6
    return found


def records(count: int) -> dict[str, float]:
    """Measure the records' store: writing, finding one, and reading all for a table."""
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(Path(folder))
        made = [_record(number) for number in range(count)]
        writing, _ = timed(lambda: [store.add(record) for record in made])
        last = made[-1]
        finding, _ = timed(
            lambda: store.find(last.key, name=last.name, evaluation=last.evaluation)
        )
        reading, all_ = timed(lambda: store.read_all()[0])
        assert len(all_) == count
    return {"write": writing, "find one": finding, "read all": reading}


def _record(number: int) -> Record:
    identity = Identity(
        *(f"{number:064x}", "resnet50", "online", "knn", 1, {}),
        *({"train": "0", "val": "0"}, {}, "fp32", 0, None),
    )
    return Record(
        identity=identity,
        name=f"model{number // 8}",
        evaluation=f"knn_data{number % 8}",
        checkpoint={},
        dataset={"name": "made", "bundled": False, "given": False},
        selection="none",
        metrics=(Metric("top1_k20", 50.0, "val", 1000),),
        code={},
        environment={},
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        config="knn_made",
    )


def slopes(by_size: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Return the exponent of size in each cost, over all sizes and the last two."""
    sizes = sorted(by_size)
    found = {}
    for name in by_size[sizes[0]]:
        values = [max(by_size[size][name], 1e-9) for size in sizes]
        whole, _ = np.polyfit(np.log(sizes), np.log(values), 1)
        end, _ = np.polyfit(np.log(sizes[-2:]), np.log(values[-2:]), 1)
        found[name] = round(float(whole), 2)
        found[f"{name}, last two"] = round(float(end), 2)
    return found


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000]
    )
    parser.add_argument("--records", type=int, nargs="+", default=[100, 1_000, 8_000])
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    # The libraries' first call is not what is measured.
    at_size(min(args.sizes))
    by_size = {}
    for size in args.sizes:
        by_size[size] = {k: float(f"{v:.4g}") for k, v in at_size(size).items()}
        print(size, by_size[size], flush=True)
    by_count = {}
    for count in args.records:
        by_count[count] = {k: float(f"{v:.4g}") for k, v in records(count).items()}
        print(count, by_count[count], flush=True)
    measure.write(
        "scale",
        {
            "what": f"{ARCH} on {SIDE} px JPEG; k-NN of {QUERIES} queries, {DIM} dims",
            "seconds_by_images": by_size,
            "slopes": slopes(by_size),
            "seconds_by_records": by_count,
            "slopes_of_records": slopes(by_count),
            "machine": measure.machine(("torch", "faiss-cpu", "numpy", "pillow")),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
