"""Hooks of the Runner: draws by step, a log of every step, and a bar."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ssl_bench.errors import BenchError
from ssl_bench.progress import Advance, progress

STEPS = "steps.csv"


def bare(model: Any) -> Any:
    """Return the model without its wrapper for several processes."""
    return model.module if is_model_wrapper(model) else model


class DrawByStep(Hook):  # type: ignore[misc]
    """Seed the generators before every step by seed, step and process.

    A run that goes on after a kill draws what it would have drawn, without random
    states in its checkpoints.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed torch, numpy and Python."""
        del batch_idx, data_batch
        model = bare(runner.model)
        model.step, model.rank = runner.iter, runner.rank
        text = f"{self.seed} {runner.iter} {runner.rank}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)


class LoadGate(Hook):  # type: ignore[misc]
    """Refuse to train a backbone that is not, tensor by tensor, what was loaded.

    Args:
        expected: digest of the loaded network.
        digest: computes it.
    """

    priority = "VERY_LOW"

    def __init__(self, expected: str, digest: Callable[[Any], str]) -> None:
        self.expected, self.digest = expected, digest

    def before_train(self, runner: Any) -> None:
        """Compare, where training begins; a resumed network has moved on."""
        if runner.iter == 0 and self.digest(bare(runner.model)) != self.expected:
            raise BenchError(
                "the backbone about to be trained is not what was loaded; nothing was "
                "trained: please report it with the config"
            )


class StepLog(Hook):  # type: ignore[misc]
    """Write loss and learning rate of every step to ``steps.csv``.

    The loss is that of the global batch. What a killed run wrote after its last
    checkpoint is dropped when it goes on.
    """

    priority = "BELOW_NORMAL"
    _HEAD = "step,epoch,lr,loss\n"

    def __init__(self, flush: int) -> None:
        self.flush = flush
        self._rows: list[str] = []
        self._path: Path | None = None

    def before_train(self, runner: Any) -> None:
        """Keep the rows of steps that the model has behind it."""
        if not is_main_process():
            return
        self._path = Path(runner.work_dir) / STEPS
        rows = []
        if runner.iter and self._path.is_file():
            lines = self._path.read_text("utf-8").splitlines()[1:]
            rows = [line for line in lines if _step_of(line) < runner.iter]
        self._path.write_text(self._HEAD + "".join(f"{row}\n" for row in rows))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note one step."""
        del batch_idx, data_batch
        if self._path is None:
            return
        loss = float(outputs["loss"])
        lr = runner.optim_wrapper.param_groups[0]["lr"]
        self._rows.append(f"{runner.iter},{runner.epoch},{lr:.9g},{loss:.9g}\n")
        if len(self._rows) >= self.flush:
            self._write()

    def after_train_epoch(self, runner: Any) -> None:
        """Write what was noted."""
        del runner
        self._write()

    def before_save_checkpoint(self, runner: Any, checkpoint: Any) -> None:
        """Write before the checkpoint does."""
        del runner, checkpoint
        self._write()

    def _write(self) -> None:
        if self._path is not None and self._rows:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(self._rows))
            self._rows = []


def _step_of(line: str) -> int:
    number = line.split(",")[0]
    return int(number) if number.isdigit() and line.count(",") == 3 else 2**62


class Bar(Hook):  # type: ignore[misc]
    """Show how far the training is, in images, with rate and remaining time."""

    priority = "VERY_LOW"

    def __init__(self, what: str, batch: int) -> None:
        self.what, self.batch = what, batch
        self._context: AbstractContextManager[Advance] | None = None
        self._advance: Advance | None = None

    def before_train(self, runner: Any) -> None:
        """Begin where the run begins."""
        if is_main_process():
            total = runner.max_iters * self.batch
            done = runner.iter * self.batch
            self._context = progress(self.what, total, done)
            self._advance = self._context.__enter__()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Go on by a batch."""
        del runner, batch_idx, data_batch, outputs
        if self._advance is not None:
            self._advance(self.batch)

    def close(self) -> None:
        """End the bar, also after an error."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None

    def after_train(self, runner: Any) -> None:
        """End the bar."""
        del runner
        self.close()


def first_rates(groups: Sequence[dict[str, Any]]) -> str:
    """Return the learning rates in use, for a message."""
    rates = sorted({f"{group['lr']:g}" for group in groups})
    shown = ", ".join(rates[:3])
    return shown if len(rates) <= 3 else f"{shown} and {len(rates) - 3} more"
