"""Where the files that travel with the package are: in a checkout and in a wheel alike.

In a checkout ``configs/`` and ``results/references/`` stand at the top, where people
look for them; the wheel carries copies of both inside the package under ``.mim``.
"""

from __future__ import annotations

from pathlib import Path

from ssl_bench.errors import BenchError

_PACKAGE = Path(__file__).resolve().parent
_PLACES = {
    "configs": (_PACKAGE.parent / "configs", _PACKAGE / ".mim" / "configs"),
    "references": (
        _PACKAGE.parent / "results" / "references",
        _PACKAGE / ".mim" / "references",
    ),
    "bundled": (_PACKAGE / "bundled",),
}


def find_dir(name: str) -> Path:
    """Return the folder of the given kind.

    Args:
        name: ``configs``, ``references`` or ``bundled``.

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
