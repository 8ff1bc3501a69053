"""mmengine's Runner, with checkpoints that appear whole, on the device asked for."""

from __future__ import annotations

import logging
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from ssl_bench.training.hooks import bare

_NAME = re.compile(r"(epoch|iter)_(\d+)\.pth")
_PART = ".part"


def newest_whole(folder: Path) -> Path | None:
    """Return the newest checkpoint of a run that can be read, or None."""
    found = [path for path in folder.glob("*.pth") if _NAME.fullmatch(path.name)]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, _number(path)))
    for path in reversed(found):
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is None:
                    return path
        except (OSError, zipfile.BadZipFile):
            continue
    return None


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[2])


class CheckpointingRunner(Runner):  # type: ignore[misc]
    """Run on one device, write checkpoints whole or not at all, keep stdout clean.

    Args:
        device: where the model is.
        arguments: as for mmengine's Runner.
    """

    def __init__(self, *, device: torch.device, **arguments: Any) -> None:
        self._device = device
        super().__init__(**arguments)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Log to the file; only warnings reach the terminal."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(
                handler, logging.FileHandler
            ):
                handler.setStream(sys.stderr)
                handler.setLevel(logging.ERROR)
        return logger

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """Bring the model to its device, and let processes share gradients."""
        del model_wrapper_cfg
        model = model.to(self._device)
        if not self.distributed:
            return model
        wrapped: nn.Module = MMDistributedDataParallel(
            module=model,
            device_ids=None
            if self._device.type == "cpu"
            else [self._device.index or 0],
            broadcast_buffers=True,
        )
        return wrapped

    def save_checkpoint(self, out_dir: str, filename: str, *a: Any, **k: Any) -> None:
        """Write beside, sync, rename."""
        part = f"{filename}{_PART}"
        super().save_checkpoint(out_dir, part, *a, **k)
        written = Path(out_dir) / part
        if written.is_file():  # only the first process writes
            with written.open("rb") as file:
                os.fsync(file.fileno())
            written.replace(Path(out_dir) / filename)

    def resume(self, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint of this run."""
        kwargs["map_location"] = self._device
        super().resume(*args, **kwargs)
        forget = getattr(bare(self.model), "forget", None)
        if forget is not None:
            forget()
