"""Where the files that travel with the package are: in a checkout and in a wheel alike.

In a checkout ``configs/``, ``suites/`` and ``results/references/`` stand at the top,
where people look for them; the wheel carries copies inside the package under ``.mim``.
"""

from __future__ import annotations

from pathlib import Path

from ssl_bench.errors import BenchError, unknown

_PACKAGE = Path(__file__).resolve().parent
_PLACES = {
    "configs": (_PACKAGE.parent / "configs", _PACKAGE / ".mim" / "configs"),
    "suites": (_PACKAGE.parent / "suites", _PACKAGE / ".mim" / "suites"),
    "references": (
        _PACKAGE.parent / "results" / "references",
        _PACKAGE / ".mim" / "references",
    ),
    "bundled": (_PACKAGE / "bundled",),
}


def find_dir(name: str) -> Path:
    """Return the folder of the given kind.

    Args:
        name: ``configs``, ``suites``, ``references`` or ``bundled``.

    Raises:
        BenchError: when the installation lacks the folder.
    """
    in_checkout = (_PACKAGE.parent / "setup.cfg").is_file()
    for place in _PLACES[name]:
        inside = place.is_relative_to(_PACKAGE)
        if place.is_dir() and (inside or in_checkout):
            return place
    raise BenchError(
        f"this installation of ssl_bench has no {name} folder; install it again: "
        "pip install --force-reinstall ssl-bench"
    )


def config_names() -> dict[str, Path]:
    """Return every shipped config by its bare name (without ``.py``)."""
    root = find_dir("configs")
    return {
        path.stem: path
        for path in sorted(root.rglob("*.py"))
        if not path.stem.startswith("_") and "_base_" not in path.parts
    }


def find_config(name: str) -> Path:
    """Return the path of a config given by path or by bare name.

    Raises:
        BenchError: with the nearest names when there is no such config.
    """
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    if path.suffix != ".py" and path.exists():
        raise BenchError(
            f"{name} is no config; a checkpoint is named with --pretrain {name}"
        )
    known = config_names()
    if path.name == name and path.stem in known and path.suffix in ("", ".py"):
        return known[path.stem]
    if ("/" in name or "\\" in name) and path.suffix == ".py":
        raise BenchError(f"config file {name} does not exist; pass a path or a name")
    raise BenchError(unknown("config", name, known))
