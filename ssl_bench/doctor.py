"""What is installed, what works, what is missing, and the line to type for it."""

from __future__ import annotations

import importlib
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

import ssl_bench
from ssl_bench import data
from ssl_bench.data import cache_dir, find_root
from ssl_bench.errors import BenchError
from ssl_bench.openmmlab import stack
from ssl_bench.solvers.faiss_build import describe_faiss
from ssl_bench.versions import installed_version

FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")
"""Distributions that own the import name faiss: exactly one may be installed."""

SHARED_NAMES = ("faiss", "mmengine", "cv2", "mmcv", "mmdet", "mmseg")
"""Import names that more than one distribution provides."""

_FAISS_ADVICE = "pip install faiss-cpu  (or faiss-gpu, never both)"


@dataclass(frozen=True)
class Finding:
    """Hold one line of the report.

    Attributes:
        subject: what was looked at.
        state: what was found.
        ok: False where something the user may want does not work.
        advice: the line to type, or empty.
    """

    subject: str
    state: str
    ok: bool = True
    advice: str = ""


def examine(data_root: Path | None = None) -> list[Finding]:
    """Look at the installation.

    Args:
        data_root: where to look for data sets, besides the usual places.

    Returns:
        Findings in the order in which to read them.
    """
    return [
        Finding("ssl_bench", ssl_bench.__version__),
        Finding("python", platform.python_version()),
        *_libraries(),
        *_extras(),
        *_owners(),
        _device(),
        _bf16(),
        _faiss(),
        *_openmmlab(),
        _cache(),
        *_data_sets(data_root),
    ]


def _libraries() -> list[Finding]:
    found = []
    for module, name in (
        ("torch", "torch"),
        ("torchvision", "torchvision"),
        ("mmengine", "onedl-mmengine"),
        ("timm", "timm"),
        ("sklearn", "scikit-learn"),
        ("pandas", "pandas"),
        ("safetensors", "safetensors"),
    ):
        problem = _import_problem(module)
        found.append(
            Finding(
                name,
                problem or installed_version(name) or installed_version(module) or "?",
                ok=not problem,
                advice=f"pip install --force-reinstall {name}" if problem else "",
            )
        )
    return found


def _import_problem(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"does not import: {type(error).__name__}: {error}"
    return ""


def _owners() -> list[Finding]:
    """Find import names that two distributions own: they overwrite each other."""
    owners = packages_distributions()
    found = []
    for name in SHARED_NAMES:
        names = sorted(set(owners.get(name, ())))
        if len(names) > 1:
            found.append(
                Finding(
                    name,
                    f"owned by {' and '.join(names)}, which overwrite each other",
                    ok=False,
                    advice=f"pip uninstall -y {' '.join(names)} && "
                    f"pip install {names[0]}",
                )
            )
    return found


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [
            torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())
        ]
        return Finding("devices", f"cpu, {len(names)} GPU: {', '.join(names)}")
    cores = len(os.sched_getaffinity(0))
    return Finding("devices", f"cpu, {cores} cores, {torch.get_num_threads()} threads")


def _bf16() -> Finding:
    flags = cpu_bf16_instructions()
    if flags:
        return Finding("bf16 on the cpu", f"{', '.join(flags)}: --dtype bf16 is fast")
    return Finding(
        "bf16 on the cpu", "no instructions: --dtype bf16 is slower than fp32"
    )


def cpu_bf16_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return the names of the CPU's bf16 instruction sets, as Linux calls them."""
    try:
        text = cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return []
    line = next((row for row in text.splitlines() if row.startswith("flags")), "")
    return [name for name in ("avx512_bf16", "amx_bf16") if name in line.split()]


def _faiss() -> Finding:
    build = describe_faiss()
    if build is None:
        return Finding("faiss", "not installed; k-NN uses torch", advice=_FAISS_ADVICE)
    return Finding("faiss", build)


def _openmmlab() -> list[Finding]:
    """Say of what detect and segment run on whether it works, by calling it."""
    found = []
    for module, command in (("mmcv", ""), ("mmdet", "detect"), ("mmseg", "segment")):
        part = stack.examine(module)
        named = f"{part.provider}: " if part.provider else ""
        works = "its operations work" if module == "mmcv" else f"{command} can run"
        found.append(
            Finding(
                module,
                f"{named}{part.problem or works}",
                ok=not part.problem or not part.provider,
                advice=part.advice,
            )
        )
    return found


def _install_line(missing: list[Requirement]) -> str:
    """Return what to type for distributions that are not there."""
    names = " ".join(f"'{need.name}{need.specifier}'" for need in missing)
    if any(need.name == "onedl-mmcv" for need in missing):
        # Built in isolation, mmcv does not see torch and leaves its ops out.
        return stack.INSTALL
    others = [name for name in FAISS if installed_version(name) is not None]
    if others and any(need.name in FAISS for need in missing):
        return f"pip uninstall -y {' '.join(others)} && pip install {names}"
    return f"pip install {names}"


def _extras() -> list[Finding]:
    """Say of every extra of this package whether what it brings is there."""
    try:
        declared = metadata("ssl-bench")
    except PackageNotFoundError:
        return [
            Finding("extras", "unknown: not installed", advice="pip install -e .[cpu]")
        ]
    needs = [Requirement(text) for text in declared.get_all("Requires-Dist") or ()]
    found = []
    for extra in declared.get_all("Provides-Extra") or ():
        needed = [
            need
            for need in needs
            if need.marker is not None
            and need.marker.evaluate({"extra": extra})
            and not need.marker.evaluate({"extra": ""})
        ]
        missing = [need for need in needed if installed_version(need.name) is None]
        names = ", ".join(need.name for need in missing)
        state = f"not there: {names}" if missing else "works"
        advice = _install_line(missing) if missing else ""
        found.append(Finding(f"extra {extra}", state, advice=advice))
    return found


def _cache() -> Finding:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    advice = "" if writable else "export SSL_BENCH_CACHE=/a/folder/you/may/write"
    state = str(folder) if writable else f"{folder} cannot be written"
    return Finding("feature cache", state, ok=writable, advice=advice)


def _data_sets(data_root: Path | None) -> list[Finding]:
    found = []
    for name in data.names():
        try:
            found.append(Finding(f"data set {name}", str(find_root(name, data_root))))
        except BenchError as error:
            found.append(Finding(f"data set {name}", "not found", advice=str(error)))
    return found
