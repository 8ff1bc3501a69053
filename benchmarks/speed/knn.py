"""k-NN: one search for all k and votes, against one search per k, both with faiss.

Ours reads the bank from a memory-mapped file, normalises it, searches once at the
largest k and makes all (k, vote) cells from that. The baseline has the bank normalised
and inside a ``faiss.IndexFlatIP`` before its clock starts, searches once per k, and
votes with our own code after each search, both kinds of vote: it is as good as one
search per k can be with this library. The bare product computes every similarity and
drops it; it runs once with torch (MKL) and once with numpy (OpenBLAS, which faiss-cpu
uses too).

    python -m benchmarks.speed.knn --repeats 3
    python -m benchmarks.speed.knn --bank 20000 --queries 2000   # a quick look
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed import measure
from ssl_bench.solvers import knn

CELLS = (("weighted", 0.07), ("majority", None))
TOPK = (10, 20, 100, 200)
CLASSES = 1000
# Rows of the bank in one block of the bare product.
PRODUCT_ROWS = 4096
BANK_CHUNK = 32768
QUERY_CHUNK = 16384
SEED = 0

Array = NDArray[np.float32]


def make_features(path: Path, rows: int, dim: int, part: int) -> NDArray[np.int64]:
    """Write clustered features, none negative as after a ReLU, without holding them.

    Args:
        path: the .npy file.
        rows: number of rows.
        dim: dimensions.
        part: 0 for the bank, 1 for the queries: other noise round the same centres.

    Returns:
        (rows,) classes.
    """
    centres = np.random.default_rng(SEED).standard_normal((CLASSES, dim), np.float32)
    generator = np.random.default_rng([SEED, part])
    targets = generator.integers(0, CLASSES, rows)
    feats: Array = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
        path, "w+", np.float32, (rows, dim)
    )
    for start in range(0, rows, 4096):
        of = targets[start : start + 4096]
        noise = generator.standard_normal((len(of), dim), np.float32)
        feats[start : start + 4096] = np.maximum(centres[of] + 2 * noise, 0)
    return targets


def normalised(feats: Array) -> Array:
    """Return a copy in memory with rows of length 1."""
    copy = np.array(feats)
    copy /= np.linalg.norm(copy, axis=1, keepdims=True)
    return copy


def vote(
    found: knn.Neighbours, targets: NDArray[np.int64], topk: tuple[int, ...]
) -> dict[tuple[int, str, float | None], NDArray[np.int64]]:
    """Count the votes in both ways; the same code for both sides."""
    return knn.predict_cells(
        found,
        targets,
        num_classes=CLASSES,
        topk=topk,
        cells=CELLS,
        metric="cosine",
        top=5,
        query_chunk=QUERY_CHUNK,
    )


def main() -> None:
    """Run the comparison and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bank", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        report = compare(Path(folder), args)
    measure.write("knn", report, args.out)


def compare(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure memory first, before anything else is held, and then time."""
    targets = make_features(folder / "bank.npy", args.bank, args.dim, 0)
    truth = make_features(folder / "query.npy", args.queries, args.dim, 1)
    bank = np.load(folder / "bank.npy", mmap_mode="r")
    query = np.load(folder / "query.npy", mmap_mode="r")

    def search() -> knn.Neighbours:
        return knn.search(
            query,
            bank,
            max(TOPK),
            metric="cosine",
            backend="faiss",
            device="cpu",
            query_chunk=QUERY_CHUNK,
            bank_chunk=BANK_CHUNK,
            leave_one_out=False,
        )

    def ours() -> dict[tuple[int, str, float | None], NDArray[np.int64]]:
        return vote(search(), targets, TOPK)

    with measure.peak_memory(0.01) as peak:
        found = search()
        cells = vote(found, targets, TOPK)
    loose_query, loose_bank = normalised(query), normalised(bank)
    index = faiss.IndexFlatIP(args.dim)
    index.add(loose_bank)

    per_k: dict[tuple[int, str, float | None], NDArray[np.int64]] = {}

    def baseline() -> None:
        for k in TOPK:
            scores, indices = index.search(loose_query, k)
            per_k.update(vote(knn.Neighbours(scores, indices), targets, (k,)))

    def torch_product() -> None:
        out = torch.empty(len(loose_query), PRODUCT_ROWS)
        rows, columns = torch.from_numpy(loose_query), torch.from_numpy(loose_bank)
        for start in range(0, len(loose_bank), PRODUCT_ROWS):
            block = columns[start : start + PRODUCT_ROWS]
            torch.mm(rows, block.T, out=out[:, : len(block)])

    def numpy_product() -> None:
        for start in range(0, len(loose_bank), PRODUCT_ROWS):
            loose_query @ loose_bank[start : start + PRODUCT_ROWS].T

    top1 = cells[20, "weighted", 0.07][:, 0]
    runs = measure.interleaved(
        {
            "ours": ours,
            "search_per_k": baseline,
            "product_torch": torch_product,
            "product_numpy": numpy_product,
            "votes_of_ours": lambda: vote(found, targets, TOPK),
        },
        args.repeats,
    )
    agreement = {
        f"k{k}_{kind}": float((cells[k, kind, heat] == ranks).all(axis=1).mean())
        for (k, kind, heat), ranks in per_k.items()
    }
    return {
        "what": "k-NN, all (k, vote) cells of one bank and one set of queries",
        "sizes": {
            "bank": args.bank,
            "queries": args.queries,
            "dim": args.dim,
            "k": list(TOPK),
            "votes": [kind for kind, _ in CELLS],
            "classes": CLASSES,
            "bank_chunk": BANK_CHUNK,
            "query_chunk": QUERY_CHUNK,
            "threads": args.threads,
        },
        "baseline": "faiss.IndexFlatIP, built before the clock starts; one search per "
        "k, each followed by the same two votes",
        "machine": measure.machine(["torch", "numpy", "faiss-cpu"]),
        "seconds": {name: run.describe() for name, run in runs.items()},
        "ratios": {
            "search_per_k_over_ours": measure.ratio(runs["search_per_k"], runs["ours"]),
            "ours_over_torch_product": measure.ratio(
                runs["ours"], runs["product_torch"]
            ),
            "ours_over_numpy_product": measure.ratio(
                runs["ours"], runs["product_numpy"]
            ),
        },
        "seconds_per_cell": {
            name: measure.spread(
                [wall / (len(TOPK) * len(CELLS)) for wall in runs[name].wall]
            )
            for name in ("ours", "search_per_k")
        },
        "bars": {"search_per_k_over_ours": 3.5, "peak_anonymous_gb": 1.0},
        "peak_anonymous_gb": round(peak.above / 1e9, 3),
        "mapped_bank_gb": round(bank.nbytes / 1e9, 3),
        "top1_k20_percent": round(100 * float((top1 == truth).mean()), 2),
        "share_of_queries_with_equal_top5": agreement,
    }


if __name__ == "__main__":
    main()
