"""Loops of mmengine that can stop anywhere and go on, and always see the last epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from numpy.typing import NDArray

from ssl_bench.files import atomic_write_text

HISTORY = "history.json"


class History:
    """Keep what every evaluated epoch gave, in a file that is whole or absent.

    Args:
        folder: of the run.
        epoch: what was evaluated later than this is dropped: it will be done again.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self.path = folder / HISTORY
        self.epochs: dict[int, dict[str, Any]] = {}
        if epoch and self.path.is_file():
            known = json.loads(self.path.read_text("utf-8"))
            self.epochs = {int(e): v for e, v in known.items() if int(e) <= epoch}

    def add(self, epoch: int, found: Mapping[str, Any]) -> None:
        """Take the metrics of an epoch."""
        self.epochs[epoch] = dict(found)
        if is_main_process():
            text = json.dumps({str(e): v for e, v in sorted(self.epochs.items())})
            atomic_write_text(self.path, text)


@LOOPS.register_module()
class EpochLoop(EpochBasedTrainLoop):  # type: ignore[misc]
    """Train by epochs; begin in the middle of one where the last run was stopped.

    The last epoch is evaluated whatever the interval, and an epoch whose evaluation
    was cut off is evaluated first.
    """

    history: History

    def run(self) -> torch.nn.Module:
        """Train, evaluate, and return the model."""
        self.runner.call_hook("before_train")
        self.history = History(Path(self.runner.work_dir), self._epoch)
        done = self._epoch
        if done and self._due(done) and done not in self.history.epochs:
            self._evaluate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            if self._due(self._epoch):
                self._evaluate()
        self.runner.call_hook("after_train")
        model: torch.nn.Module = self.runner.model
        return model

    def run_epoch(self) -> None:
        """Train what is left of one epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        sampler = self.dataloader.batch_sampler
        first = self._iter - self._epoch * len(self.dataloader)
        sampler.set_epoch(self._epoch)
        sampler.first = first
        try:
            for number, batch in enumerate(self.dataloader, first):
                self.run_iter(number, batch)
        finally:
            sampler.first = 0
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _due(self, epoch: int) -> bool:
        last = epoch == self._max_epochs
        regular = epoch >= self.val_begin and epoch % self.val_interval == 0
        return bool(last or regular)

    def _evaluate(self) -> None:
        found = self.runner.val_loop.run()
        self.history.add(self._epoch, found)


class TopK(BaseMetric):  # type: ignore[misc]
    """Count hits of every head over all processes.

    ``evaluate`` gives ``top1/<head>`` and ``top5/<head>`` in percent. Equal logits go
    to the lower class. Per-class hits and, for a few heads, the confusion matrix are
    kept in ``classwise_HK`` and ``confusion_HKK``.

    Args:
        heads: names, in the order of the logits.
        classes: K.
    """

    default_prefix = ""
    _MATRIX = 50_000_000

    def __init__(self, heads: list[str], classes: int) -> None:
        super().__init__(collect_device="cpu")
        self.heads, self.classes = heads, classes
        self.matrix = len(heads) * classes**2 <= self._MATRIX
        self.classwise_HK: NDArray[np.float64] = np.zeros((0, 0))
        self.confusion_HKK: NDArray[np.int64] | None = None
        self._clear()

    def _clear(self) -> None:
        h, k = len(self.heads), self.classes
        self._top5_H = torch.zeros(h, dtype=torch.int64)
        self._counts_K = torch.zeros(k, dtype=torch.int64)
        self._hits_HK = torch.zeros(h, k, dtype=torch.int64)
        self._confusion = torch.zeros(h if self.matrix else 0, k, k, dtype=torch.int64)

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Take the logits (H, B, K) and targets (B,) of one batch."""
        del data_batch
        logits_HBK, targets_B = data_samples
        logits_HBK, targets_B = logits_HBK.float().cpu(), targets_B.cpu()
        own_HB1 = logits_HBK.gather(
            2, targets_B[None, :, None].expand(len(logits_HBK), -1, 1)
        )
        lower = torch.arange(self.classes)[None, None] < targets_B[None, :, None]
        ahead = (logits_HBK > own_HB1) | ((logits_HBK == own_HB1) & lower)
        # Against NaN everything compares false: it must not look like a hit.
        ahead |= ~own_HB1.isfinite()
        rank_HB = ahead.sum(2)
        self._top5_H += (rank_HB < 5).sum(1)
        self._counts_K += torch.bincount(targets_B, minlength=self.classes)
        for h, hit_B in enumerate(rank_HB == 0):
            self._hits_HK[h] += torch.bincount(targets_B[hit_B], minlength=self.classes)
        if self.matrix:
            guess_HB = logits_HBK.argmax(2)
            for h, guess_B in enumerate(guess_HB):
                flat = targets_B * self.classes + guess_B
                counts = torch.bincount(flat, minlength=self.classes**2)
                self._confusion[h] += counts.view(self.classes, self.classes)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return nothing: `evaluate` does the work."""
        del results
        return {}

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the metrics over all processes, and begin anew."""
        del size
        for counts in (self._top5_H, self._counts_K, self._hits_HK, self._confusion):
            if counts.numel():
                _sum(counts)
        total = int(self._counts_K.sum())
        top1_H = 100 * self._hits_HK.sum(1).double() / total
        top5_H = 100 * self._top5_H.double() / total
        shares = 100 * self._hits_HK.double() / self._counts_K.clamp_min(1)
        shares[:, self._counts_K == 0] = float("nan")
        self.classwise_HK = shares.numpy()
        self.confusion_HKK = self._confusion.numpy().copy() if self.matrix else None
        self._clear()
        found = {}
        for name, top1, top5 in zip(self.heads, top1_H, top5_H, strict=True):
            found[f"top1/{name}"] = float(top1)
            found[f"top5/{name}"] = float(top5)
        return found


def _sum(counts: torch.Tensor) -> None:
    """Add counts of all processes in place; NCCL takes them on the GPU only."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        moved = counts.to(device)
        all_reduce(moved)
        counts.copy_(moved.cpu())
