"""k-NN in fp32 and in bf16: by how many points top-1 moves.

    python -m benchmarks.speed.agreement
    python -m benchmarks.speed.agreement --cifar-root DIR --pretrain CKPT

The bundled backbone is compared on the bundled scenes; a second checkpoint, where one
is given, on CIFAR-10 as torchvision leaves it.
--cfg-options are those of ssl-bench knn.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import ssl_bench
from benchmarks.speed import measure
from ssl_bench.config import parse_options
from ssl_bench.features import Extraction


def compare(**request: Any) -> dict[str, Any]:
    """Evaluate in both precisions and subtract."""
    values: dict[str, dict[str, float]] = {}
    seconds = {}
    for dtype in ("fp32", "bf16"):
        start = time.perf_counter()
        record = ssl_bench.evaluate(extraction=Extraction(dtype=dtype), **request)[0]
        seconds[dtype] = round(time.perf_counter() - start, 2)
        values[dtype] = {
            m.name: round(m.value, 2)
            for m in record.metrics
            if m.name.startswith("top1") and m.name.count("_") == 1
        }
    moved = {n: round(values["bf16"][n] - v, 2) for n, v in values["fp32"].items()}
    return {
        "top1": values,
        "moved": moved,
        "largest": max(map(abs, moved.values())),
        "seconds": seconds,
    }


def main() -> None:
    """Run the comparison and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar-root", type=Path)
    parser.add_argument("--pretrain")
    parser.add_argument("--cfg-options", nargs="+")
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    report: dict[str, Any] = {"digit-scenes": compare(dataset="digit-scenes")}
    if args.cifar_root is not None:
        report["cifar10"] = compare(
            pretrain=args.pretrain,
            dataset="cifar10",
            data_root=args.cifar_root,
            options=parse_options(args.cfg_options),
        )
    report["machine"] = measure.machine(("torch", "faiss-cpu"))
    measure.write("agreement", report, args.out)


if __name__ == "__main__":
    main()
