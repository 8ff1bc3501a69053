"""Checkpoints as their producers write them, each with the producer's own network."""

from __future__ import annotations

import importlib
import pkgutil
import warnings

from tests.producers.example import EXAMPLES


def load_all() -> dict[str, object]:
    """Import every file of this folder, so that its examples are registered."""
    with warnings.catch_warnings():
        # What other packages warn of is not ours to mend.
        warnings.simplefilter("ignore")
        for info in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{info.name}")
    return dict(EXAMPLES)
