"""Who may import whom, held against the code by walking every import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ssl_bench

PACKAGE = Path(ssl_bench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    "cli": 5,
    "__main__": 5,
    "suite": 4,
    "jobs": 4,
    "demo": 4,
    "doctor": 4,
    "results.store": 4,
    "results.tables": 4,
    "results.references": 1,
    "results.imported": 1,
    "protocols": 3,
    "features": 2,
    "svms": 2,
    "probes": 2,
    "training": 2,
    "openmmlab": 2,
    "cells": 1,
    "launch": 1,
    "locks": 1,
    "checkpoints": 1,
    "backbones": 1,
    "data": 1,
    "solvers": 1,
    "pooling": 1,
    "results.record": 0,
    "results.schema": 0,
    "metrics": 0,
    "config": 0,
    "registry": 0,
    "errors": 0,
    "files": 0,
    "progress": 0,
    "resources": 0,
    "versions": 0,
}
# Neighbours on one floor that may meet, besides errors, which floor 0 shares.
BESIDE = {
    ("checkpoints", "backbones"),
    ("results.tables", "results.store"),
    ("results.record", "results.schema"),
    ("results.schema", "results.record"),
    ("__main__", "cli"),
    ("data", "locks"),
    ("svms", "features"),
    ("probes", "features"),
    ("openmmlab", "training"),
    ("jobs", "suite"),  # a suite file says which cells are submitted
}


def room_of(module: str) -> str:
    """Return the room of a dotted module name below ``ssl_bench``."""
    parts = module.split(".")
    two = ".".join(parts[:2])
    return two if two in FLOORS else parts[0]


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Return (module, whether at top level) of every import, TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text())
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.extend((f"{child.module}.{a.name}", top) for a in child.names)
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            visit(child, top and not inner)

    visit(tree, True)
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


@pytest.mark.parametrize(
    "path", FILES, ids=[str(f.relative_to(PACKAGE)) for f in FILES]
)
def test_a_room_imports_lower_floors_only(path: Path) -> None:
    module = module_of(path)
    if module in ("", "results"):
        return
    room = room_of(module)
    assert room in FLOORS, f"{room} has no floor"
    for name, _ in imports_of(path):
        if not name.startswith("ssl_bench."):
            continue
        target = name.removeprefix("ssl_bench.")
        if target in ("__version__", "evaluate", "load_backbone", "extract_features"):
            continue
        other = room_of(target)
        if other == room or other == "errors" or (room, other) in BESIDE:
            continue
        assert FLOORS[other] < FLOORS[room], f"{module} imports {target}"


@pytest.mark.parametrize(
    "path", FILES, ids=[str(f.relative_to(PACKAGE)) for f in FILES]
)
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    module = module_of(path)
    room = room_of(module) if module not in ("", "results") else "errors"
    floor = FLOORS[room]
    for name, top in imports_of(path):
        library = name.split(".")[0]
        if library in ("torch", "torchvision", "timm"):
            assert floor >= 1, f"{module} imports {library} on floor 0"
            assert floor < 5 or not top, f"{module} imports {library} before it runs"
        if library == "faiss":
            assert room == "solvers", f"{module} imports faiss"
            assert not top, f"{module} imports faiss before it is needed"
        if library == "sklearn":
            where = ("data.digits", "data.folds")  # where a split is drawn
            assert room == "solvers" or module in where, module
        if library == "submitit":
            assert room == "jobs", f"{module} imports {library}"
            assert not top, f"{module} imports {library} before it is needed"
        if library in ("mmdet", "mmseg", "mmcv"):
            assert room == "openmmlab", f"{module} imports {library}"


def test_no_room_without_a_name() -> None:
    forbidden = {"utils.py", "common.py", "helpers.py", "misc.py"}
    assert not [f for f in FILES if f.name in forbidden]


@pytest.mark.parametrize(
    "path", FILES, ids=[str(f.relative_to(PACKAGE)) for f in FILES]
)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from ssl_bench.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mmengine', 'numpy', 'faiss', 'timm', 'pandas'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "knn" in done.stdout


def test_the_floor_table_of_the_docs_is_this_one() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    for room in FLOORS:
        assert f"`{room.replace('.', '/')}`" in text, f"{room} is not in the docs"
