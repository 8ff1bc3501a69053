"""What is recorded of the machine: it explains a number and is no part of its key."""

from __future__ import annotations

import platform
from typing import Any

import torch

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
