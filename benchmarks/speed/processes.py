"""Extraction by two processes of one thread against one process of two threads.

Both extract ResNet-50 features from the same JPEG files through the whole of
`extract_features`; the clock runs from when all processes are ready until the features
are there for all of them. The limit is 1.0: the cores do the same arithmetic.

    python -m benchmarks.speed.processes
    python -m benchmarks.speed.processes --images 256 --repeats 1   # a quick look
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.speed import measure
from benchmarks.speed.extraction import write_photographs

ARCH = "resnet50"
SEED = 0
WORK = """
import sys, time
from pathlib import Path
from ssl_bench import data, launch
from ssl_bench.backbones import build
from ssl_bench.features import Extraction, FeatureStore, extract_features

with launch.together("pytorch", "cpu") as device:
    root, store = map(Path, sys.argv[1:3])
    dataset = data.open_dataset("folder", "train", root)
    backbone = build(sys.argv[3], seed=0)
    how = Extraction(device=device, batch_size=32)
    # The first pass through the libraries is not what is measured.
    few = dataset.select(list(range(64)))
    extract_features(backbone, few, extraction=how, store=FeatureStore(store / "few"))
    launch.meet()
    clock = time.perf_counter()
    extract_features(backbone, dataset, extraction=how, store=FeatureStore(store))
    launch.meet()
    if launch.rank() == 0:
        print(time.perf_counter() - clock)
"""


def seconds(root: Path, store: Path, processes: int, threads: int) -> float:
    """Return how long so many processes take to extract all features."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(root), str(store), ARCH],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": str(threads),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [process.communicate()[0] for process in crew]
    if any(process.returncode for process in crew):
        raise SystemExit("a process failed, see above")
    return float(said[0])


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    contenders = {"one process": (1, cores), "one process a core": (cores, 1)}
    walls: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        root = write_photographs(Path(folder) / "photos", args.images)
        for turn in range(args.repeats):
            names = list(contenders)
            for name in names[turn % 2 :] + names[: turn % 2]:
                store = Path(folder) / f"store-{name}-{turn}"
                walls[name].append(seconds(root, store, *contenders[name]))
                print(f"round {turn + 1}: {name} {walls[name][-1]:.2f} s", flush=True)
    one, many = walls.values()
    measure.write(
        "processes",
        {
            "what": f"{ARCH} features of {args.images} JPEG files on {cores} cores",
            "seconds": {name: measure.spread(wall) for name, wall in walls.items()},
            "rate_of_many_over_one": measure.spread(
                [a / b for a, b in zip(one, many, strict=True)]
            ),
            "bar": 0.95,
            "machine": measure.machine(("torch", "torchvision", "pillow")),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
