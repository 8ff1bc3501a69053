"""Evaluate self-supervised vision backbones: from a checkpoint to a model-zoo table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["__version__", "evaluate", "extract_features", "load_backbone"]

if TYPE_CHECKING:
    from ssl_bench.checkpoints import load_backbone
    from ssl_bench.features import extract_features
    from ssl_bench.suite import evaluate

_HOMES = {
    "load_backbone": "ssl_bench.checkpoints",
    "extract_features": "ssl_bench.features",
    "evaluate": "ssl_bench.suite",
}


def __getattr__(name: str) -> Any:
    """Import the public functions on first use: ``--help`` must not import torch."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ssl_bench' has no attribute {name!r}")
