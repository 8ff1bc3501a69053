"""How features are extracted: device, precision, batch and workers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ssl_bench.errors import BenchError, UsageError, unknown

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Extraction:
    """Say how features are extracted; of these only ``dtype`` can move a number.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: precision of the forward pass; features are kept in float32.
        batch_size: images in one forward pass.
        workers: processes that decode images; None chooses by cores and images.
        on_bad_image: ``error``, or ``skip`` to leave unreadable images out and count
            them.
        verify_data: take cached features only if they were made of these very bytes.
    """

    device: str = "auto"
    dtype: str = "fp32"
    batch_size: int = 64
    workers: int | None = None
    on_bad_image: str = "error"
    verify_data: bool = False

    def complaints(self) -> list[str]:
        """Return what is wrong with these values."""
        found = []
        if self.dtype not in DTYPES:
            found.append(unknown("dtype", self.dtype, DTYPES))
        if self.batch_size < 1:
            found.append(f"batch size {self.batch_size} is not 1 or more")
        if self.workers is not None and self.workers < 0:
            found.append(f"workers {self.workers} is not 0 or more")
        if self.on_bad_image not in ("error", "skip"):
            found.append(
                unknown("bad-image rule", self.on_bad_image, ("error", "skip"))
            )
        return found


def resolve_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes a GPU where there is one.

    Raises:
        BenchError: when the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"unknown device {name!r}; use auto, cpu, cuda or cuda:0"
        ) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise BenchError(
                f"device {name} is not here: {count} GPUs are usable; pass --device "
                "cpu, or look at ssl-bench doctor"
            )
    elif device.type != "cpu":
        raise UsageError(f"device {name!r} is not supported; use auto, cpu or cuda")
    return device
