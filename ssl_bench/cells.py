"""Finished cells of a run that may be killed: each a small JSON file, whole or absent.

A protocol that takes minutes keeps what it has finished under the digest of everything
that it depends on, so that a second run begins where the first one stopped, and changed
features or settings never meet old results.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_bench import __version__
from ssl_bench.files import atomic_write_text
from ssl_bench.results.record import canonical_json, digest


class Cells:
    """Keep the finished cells of one run.

    Args:
        root: the cache; the cells lie in ``cells/`` below it.
        identity: everything that the results depend on.
        fresh: drop what an earlier run has finished.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], *, fresh: bool) -> None:
        known = {"code": __version__, **identity}
        self.folder = root / "cells" / digest(known)[:32]
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a finished cell, or None; a damaged one counts as not there."""
        try:
            found = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, name: str, cell: Mapping[str, Any]) -> None:
        """Keep a finished cell.

        Raises:
            OSError: when it cannot be written.
            RecordError: for what JSON cannot say.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(self.folder / f"{name}.json", canonical_json(cell))
