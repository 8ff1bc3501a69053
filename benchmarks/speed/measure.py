"""Measure runs side by side, so that a busy machine disturbs both alike.

Every round runs each contender once, in an order that turns from round to round; a
ratio is taken within a round, and the smallest, the middle and the largest of them are
reported. CPU seconds stand beside wall seconds: where wall times cores is much more
than CPU, somebody else was at work.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass
class Runs:
    """The runs of one contender, in the order of the rounds, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Return the seconds with their spread, for JSON."""
        return {"wall_s": spread(self.wall), "cpu_s": spread(self.cpu)}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return smallest, middle and largest value, rounded to four digits."""
    return {
        "min": _round(min(values)),
        "median": _round(statistics.median(values)),
        "max": _round(max(values)),
        "runs": len(values),
    }


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    before: Callable[[], object] = lambda: None,
) -> dict[str, Runs]:
    """Run every contender once a round.

    Args:
        contenders: what to run, by name.
        repeats: number of rounds.
        before: what to do before each run, untimed.

    Returns:
        The runs of every contender.
    """
    runs = {name: Runs() for name in contenders}
    names = list(contenders)
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            before()
            wall, cpu = time.perf_counter(), time.process_time()
            contenders[name]()
            runs[name].wall.append(time.perf_counter() - wall)
            runs[name].cpu.append(time.process_time() - cpu)
            print(f"round {turn + 1}: {name} {runs[name].wall[-1]:.2f} s", flush=True)
    return runs


def ratio(slow: Runs, fast: Runs) -> dict[str, dict[str, float]]:
    """Return how many times longer ``slow`` took, round by round, with the spread.

    The ratio of CPU seconds stands beside that of wall seconds: on a busy machine it
    says more, but does not see how well the cores were used.
    """
    return {
        "wall": spread([a / b for a, b in zip(slow.wall, fast.wall, strict=True)]),
        "cpu": spread([a / b for a, b in zip(slow.cpu, fast.cpu, strict=True)]),
    }


def anonymous_bytes() -> int:
    """Return this process's anonymous resident memory; mapped files do not count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon; memory is measured on Linux only")


class Peak:
    """The largest anonymous memory seen, above the level at the start."""

    def __init__(self) -> None:
        self.level = anonymous_bytes()
        self.above = 0

    def look(self) -> None:
        """Take one sample."""
        self.above = max(self.above, anonymous_bytes() - self.level)


@contextmanager
def peak_memory(seconds_between: float) -> Iterator[Peak]:
    """Sample anonymous memory in a thread; enter it after all imports.

    Args:
        seconds_between: pause between two samples.

    Yields:
        The peak, which is complete after the block.
    """
    peak = Peak()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(seconds_between):
            peak.look()

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.look()


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Describe what the figures were measured on; the host's name is left out.

    Args:
        packages: distributions whose versions matter.

    Returns:
        CPU, cores, memory, load, Python and versions (None where not installed).
    """
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cpu_family": _field("/proc/cpuinfo", "cpu family"),
        "cpu_model": _field("/proc/cpuinfo", "model"),
        "bf16_instructions": sorted(
            {"avx512_bf16", "amx_bf16"}
            & set((_field("/proc/cpuinfo", "flags") or "").split())
        ),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": _round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        ),
        "load_average_15_min": _round(os.getloadavg()[2]),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def write(name: str, report: Mapping[str, Any], folder: Path) -> Path:
    """Write a report as JSON and print it.

    Args:
        name: of the benchmark; the file is ``<name>.json``.
        report: what was measured.
        folder: where to write.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps(report, indent=2) + "\n"
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(text)
    beside.replace(path)
    print(text, end="")
    return path


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _field(file: str, name: str) -> str | None:
    try:
        text = Path(file).read_text()
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
