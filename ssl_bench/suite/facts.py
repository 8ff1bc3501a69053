"""What is recorded of machine and checkpoint: it explains a number, and keys none."""

from __future__ import annotations

import platform
from typing import Any

import torch

from ssl_bench.backbones import Backbone
from ssl_bench.features import Extraction, resolve_device
from ssl_bench.versions import library_versions


def environment_facts(extraction: Extraction) -> dict[str, Any]:
    """Return device, threads, workers, batch and library versions."""
    device = resolve_device(extraction.device)
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else "cpu",
        "threads": torch.get_num_threads(),
        "batch_size": extraction.batch_size,
        "workers": extraction.workers,
        "libraries": library_versions(),
    }


def checkpoint_facts(backbone: Backbone | None) -> dict[str, Any]:
    """Return where the weights came from, and what of the file was used."""
    weights = None if backbone is None else backbone.weights
    if weights is None:
        return {"source": "none", "sha256": None, "layout": None, "encoder": "none"}
    return {
        "source": weights.source,
        "sha256": weights.sha256,
        "layout": weights.layout,
        "encoder": weights.encoder,
        "producer": weights.producer,
        "partial": weights.partial,
        "matched": weights.coverage.matched,
        "missing": list(weights.coverage.missing),
        "dropped": {rule: len(keys) for rule, keys in weights.coverage.dropped.items()},
    }
