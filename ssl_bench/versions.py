"""Versions of this code and of the libraries it runs on."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ssl_bench

LIBRARIES = (
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
"""The distributions whose versions stand in a record."""


def installed_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def library_versions() -> dict[str, str]:
    """Return the versions of those `LIBRARIES` that are installed."""
    found = {name: installed_version(name) for name in LIBRARIES}
    return {name: value for name, value in found.items() if value}


def code_facts() -> dict[str, Any]:
    """Return the package's version and, in a checkout, its commit and cleanness."""
    root = Path(ssl_bench.__file__).resolve().parents[1]
    facts: dict[str, Any] = {"version": ssl_bench.__version__}
    if (root / ".git").exists():
        facts["commit"] = _git(root, "rev-parse", "HEAD")
        facts["modified"] = bool(_git(root, "status", "--porcelain", "-uno"))
    return facts


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
