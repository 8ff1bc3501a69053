"""What is recorded of the code and the machine: it explains a number, it is no key."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import ssl_bench
from ssl_bench.features import Extraction, resolve_device

_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "faiss-cpu",
    "faiss-gpu",
    "onedl-mmengine",
    "mmengine",
)


def installed_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_facts() -> dict[str, Any]:
    """Return the package's version and, in a checkout, its commit and cleanness."""
    root = Path(ssl_bench.__file__).resolve().parents[1]
    facts: dict[str, Any] = {"version": ssl_bench.__version__}
    if (root / ".git").exists():
        facts["commit"] = _git(root, "rev-parse", "HEAD")
        facts["modified"] = bool(_git(root, "status", "--porcelain", "-uno"))
    return facts


def environment_facts(extraction: Extraction) -> dict[str, Any]:
    """Return device, threads, workers, batch and library versions."""
    device = resolve_device(extraction.device)
    libraries = {name: installed_version(name) for name in _LIBRARIES}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else "cpu",
        "threads": torch.get_num_threads(),
        "batch_size": extraction.batch_size,
        "workers": extraction.workers,
        "libraries": {name: value for name, value in libraries.items() if value},
    }


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
