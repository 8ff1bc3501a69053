"""Extraction of a ViT-L from a training checkpoint with Adam state, 3.6 GB.

The other side is what any script has to do for the same result: a mapped torch.load, a
torch.save of the backbone, the sha256 of the source, and one look at every number of
the backbone, one after the other. Ours also verifies the check sums of the file and
the weights, and digests what it writes. Both sides write to the same folder and wait
until the file has reached the disk.

A last figure shows how much of the file `inspect` reads, of a file that is not in
memory: the pages of it that are there afterwards.

    python -m benchmarks.speed.checkpoints --repeats 5
    python -m benchmarks.speed.checkpoints --depth 2 --repeats 1   # a quick look
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import measure
from ssl_bench import checkpoints
from ssl_bench.backbones import build
from ssl_bench.checkpoints import reader

ARCH = "vit_large_patch16_224"
DEPTH = 24
SEED = 0
MEMORY_BAR = 500e6
SETTLE = 4.0


def write_source(path: Path, depth: int) -> None:
    """Write what a training script saves: the weights, and Adam's two averages."""
    model = {
        key: value
        for key, value in build(ARCH, SEED).state_dict().items()
        if not key.startswith("blocks.") or int(key.split(".")[1]) < depth
    }
    state = {
        number: {
            "step": torch.tensor(1000.0),
            "exp_avg": value * 1e-3,
            "exp_avg_sq": value * value,
        }
        for number, value in enumerate(model.values())
    }
    groups = [{"lr": 1e-4, "betas": (0.9, 0.95), "params": list(range(len(model)))}]
    optimiser = {"state": state, "param_groups": groups}
    torch.save({"model": model, "optimizer": optimiser, "epoch": 99}, path)


def settle(path: Path) -> None:
    """Wait until a file has reached the disk, as our own writer does."""
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def by_hand(source: Path, out: Path, steps: dict[str, list[float]]) -> None:
    """Do the four things one after the other, and note how long each took."""

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = step()
        steps.setdefault(name, []).append(time.perf_counter() - start)
        return result

    def digest() -> str:
        with source.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def save() -> None:
        torch.save({"state_dict": model}, out)
        settle(out)

    model = timed(
        "load", lambda: torch.load(source, mmap=True, weights_only=True)["model"]
    )
    timed("save", save)
    timed("sha256", digest)
    timed("read", lambda: [float(tensor.sum()) for tensor in model.values()])


def ours(source: Path, out: Path, steps: dict[str, list[float]]) -> None:
    """Extract as the command does, and note how long each half took."""
    start = time.perf_counter()
    weights = checkpoints.load(source)
    middle = time.perf_counter()
    checkpoints.save(weights, out)
    checkpoints.render_inventory(checkpoints.take_inventory(weights))
    steps.setdefault("load", []).append(middle - start)
    steps.setdefault("save", []).append(time.perf_counter() - middle)


def resident(path: Path) -> int:
    """Return how many bytes of a file are in memory (Linux)."""
    size = path.stat().st_size
    library = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as handle:
        view = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        flags = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(view)
        place = ctypes.c_void_p(ctypes.addressof(first))
        if library.mincore(place, ctypes.c_size_t(size), flags):
            raise OSError(ctypes.get_errno(), "mincore")
        del first
        view.close()
    return sum(flag & 1 for flag in flags) * mmap.PAGESIZE


def forget(path: Path) -> None:
    """Ask the system to drop a file from memory."""
    settle(path)
    with path.open("rb") as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peek_cost(source: Path) -> dict[str, float]:
    """Return what a look without numbers reads of a file that is not in memory."""
    forget(source)
    before = resident(source)
    start = time.perf_counter()
    reader.peek(source)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "megabytes_in_memory_before": before / 1e6,
        "megabytes_in_memory_after": resident(source) / 1e6,
        "megabytes_of_the_file": source.stat().st_size / 1e6,
    }


def run(folder: Path, depth: int, repeats: int) -> dict[str, Any]:
    """Measure everything in a folder, and return the report."""
    source, out = folder / "checkpoint.pth", folder / "backbone.pth"
    # A process of its own: what it allocated would blur the memory of this one.
    program = (
        "import sys; from pathlib import Path; "
        "from benchmarks.speed.checkpoints import write_source; "
        "write_source(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", program, source, str(depth)], check=True)
    cold = peek_cost(source)
    steps: dict[str, dict[str, list[float]]] = {"by_hand": {}, "ours": {}}

    def clear() -> None:
        """Remove the last file, and let its memory go.

        A virtual machine gives freed memory back within seconds, and to get it again
        costs as much as the writing: who saves at once would go without that.
        """
        out.unlink(missing_ok=True)
        time.sleep(SETTLE)

    contenders = {
        "by_hand": lambda: by_hand(source, out, steps["by_hand"]),
        "ours": lambda: ours(source, out, steps["ours"]),
    }
    for warm_up in contenders.values():
        warm_up()
    steps["by_hand"].clear()
    steps["ours"].clear()
    runs = measure.interleaved(contenders, repeats, clear)
    clear()
    with measure.peak_memory(0.005) as peak:
        contenders["ours"]()
    size = out.stat().st_size
    return {
        "what": f"{ARCH} with Adam state, {source.stat().st_size / 1e9:.2f} GB, "
        f"backbone {size / 1e9:.2f} GB, source in memory, both wait for the disk",
        "ours_over_by_hand": measure.ratio(runs["ours"], runs["by_hand"]),
        "bar": 1.3,
        "seconds": {name: found.describe() for name, found in runs.items()},
        "steps_s": {
            name: {step: measure.spread(values) for step, values in found.items()}
            for name, found in steps.items()
        },
        "peak_anonymous_gb": peak.above / 1e9,
        "peak_bar_gb": (size + MEMORY_BAR) / 1e9,
        "peek_of_a_file_not_in_memory": cold,
    }


def main() -> None:
    """Run the measurement and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=DEPTH, help="blocks of the ViT")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where there are 6 GB to write")
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        report = run(Path(folder), args.depth, args.repeats)
    report["machine"] = measure.machine(["ssl_bench", "torch", "numpy"])
    measure.write("checkpoints", report, args.out)


if __name__ == "__main__":
    main()
