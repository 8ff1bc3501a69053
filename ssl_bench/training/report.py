"""From the epochs of a training run to metrics, with what chose them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ssl_bench.errors import BenchError
from ssl_bench.files import atomic_write_text
from ssl_bench.results.record import Metric
from ssl_bench.training.run import Trained

MAIN = "head"
"""A head of this name needs no name in metrics."""


@dataclass(frozen=True)
class Report:
    """Hold what a training protocol reports.

    Attributes:
        metrics: of the last epoch, then of the best.
        selection: which split chose a setting.
        warnings: for a reader of the numbers.
        details: the metrics of every epoch and head, batch and learning rate.
        facts: processes.
    """

    metrics: tuple[Metric, ...]
    selection: str
    warnings: tuple[str, ...]
    details: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def report(trained: Trained, *, split: str, count: int, swept: bool) -> Report:
    """Turn a run into metrics.

    Args:
        trained: the run.
        split: that was evaluated.
        count: its images.
        swept: whether several heads tried several settings: the best one is then
            reported first, as chosen on ``split``.

    Raises:
        BenchError: where every head diverged.
    """
    last = trained.history[trained.last]
    alive = [name for name in trained.heads if name not in trained.dead]
    if not alive:
        raise BenchError(
            f"all {len(trained.heads)} heads diverged, the last one at step "
            f"{max(trained.dead.values())}; there is no result: sweep lower learning "
            "rates, as in --sweep lr=0.001,0.01,0.1"
        )
    top = 5 if trained.classwise_HK.shape[1] >= 5 else 1
    metrics: list[Metric] = []

    def add(name: str, value: float, selection: str = "") -> None:
        metrics.append(
            Metric(
                name=name, value=value, split=split, count=count, selection=selection
            )
        )

    chosen = f"{split}, best of {len(trained.heads)} settings"
    if swept and alive:
        best = max(alive, key=lambda name: last[f"top1/{name}"])
        add("top1", last[f"top1/{best}"], chosen)
        if top == 5:
            add("top5", last[f"top5/{best}"], chosen)
    for name in alive:
        for k in (1, 5)[: 2 if top == 5 else 1]:
            add(f"top{k}{_suffix(name)}", last[f"top{k}/{name}"])
    for name in alive:
        if swept:
            continue
        epoch = trained.best(f"top1/{name}")
        add(
            f"top1{_suffix(name)}_best",
            trained.history[epoch][f"top1/{name}"],
            f"{split}, best of {len(trained.history)} epochs evaluated",
        )
    warnings = tuple(
        f"{name} diverged at step {step} and is left out"
        for name, step in trained.dead.items()
    )
    details = {
        "epochs": {
            str(epoch): {key: round(value, 4) for key, value in found.items()}
            for epoch, found in trained.history.items()
        },
        "training": {k: v for k, v in trained.facts.items() if k != "processes"},
        "diverged": dict(trained.dead),
    }
    return Report(
        metrics=tuple(metrics),
        selection="none",
        warnings=warnings,
        details=details,
        facts={"processes": trained.facts["processes"]},
    )


def _suffix(name: str) -> str:
    if name == MAIN:
        return ""
    return "_" + name.removeprefix(f"{MAIN}_")


def leave_tables(trained: Trained, classes: Sequence[str], folder: Path) -> None:
    """Write accuracy by class and, where it was counted, the confusion matrix.

    Args:
        trained: the run.
        classes: names, by label.
        folder: takes ``per_class.csv`` and ``confusion_<head>.csv``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Sequence[Any]] = [["class", *trained.heads]]
    for label, name in enumerate(classes):
        shares = trained.classwise_HK[:, label]
        rows.append([name, *("" if math.isnan(s) else f"{s:.2f}" for s in shares)])
    atomic_write_text(folder / "per_class.csv", _csv(rows))
    if trained.confusion_HKK is None:
        return
    for head, counts_KK in zip(trained.heads, trained.confusion_HKK, strict=True):
        lines: list[Sequence[Any]] = [["true \\ guessed", *classes]]
        pairs = zip(classes, np.asarray(counts_KK).tolist(), strict=True)
        lines += [[name, *counts] for name, counts in pairs]
        atomic_write_text(folder / f"confusion_{head}.csv", _csv(lines))


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
