"""Several processes that train together, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from ssl_bench.errors import UsageError

LAUNCHERS = ("none", "pytorch")

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_MINUTES = 30


def rank() -> int:
    """Return the number of this process among those that work together."""
    return distributed.get_rank() if _started() else 0


def world() -> int:
    """Return how many processes work together."""
    return distributed.get_world_size() if _started() else 1


def _started() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def together(launcher: str, device: str) -> Iterator[str]:
    """Join the processes that were started together; leave them at the end.

    Args:
        launcher: ``none`` for a single process, ``pytorch`` below torchrun.
        device: as the user named it.

    Yields:
        The device of this process.

    Raises:
        UsageError: when torchrun did not start this process.
    """
    if launcher == "none":
        yield device
        return
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        raise UsageError(
            f"--launcher {launcher} needs {', '.join(missing)} in the environment; "
            "start it with torchrun --nproc_per_node=N -m ssl_bench ..."
        )
    on_gpu = device.startswith("cuda") or (
        device == "auto" and torch.cuda.is_available()
    )
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", timeout=timedelta(minutes=_MINUTES)
    )
    try:
        yield device
    finally:
        distributed.destroy_process_group()
