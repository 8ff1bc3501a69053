"""From a trial to a training run and back: what linear, semi and finetune share."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.cells import Cells
from ssl_bench.data.roots import cache_dir
from ssl_bench.features import resolve_device
from ssl_bench.launch import cores, rank
from ssl_bench.progress import note
from ssl_bench.protocols import Outcome, Trial
from ssl_bench.results.record import Metric

if TYPE_CHECKING:
    from ssl_bench.training.job import Job
    from ssl_bench.training.recipe import Recipe

_FEW_IMAGES = 5000
_WORKERS = 4
_GPU_WORKERS = 16


def train_and_report(trial: Trial) -> Outcome:
    """Run the trial's recipe.

    Raises:
        BenchError: where the run cannot begin, go on or be trusted.
    """
    from ssl_bench.training.report import leave_tables, report
    from ssl_bench.training.run import train

    job = job_of(trial)
    trained = train(job)
    test = trial.dataset["test"]
    if rank() == 0:
        leave_tables(trained, job.train.classes, job.work_dir)
    found = report(
        trained, split=test.split, count=len(test), swept=bool(job.recipe.sweep)
    )
    return Outcome(
        metrics=found.metrics,
        selection=found.selection,
        counts=_counts(trial),
        warnings=found.warnings,
        facts={**found.facts, "work_dir": job.work_dir.name},
        details=found.details,
    )


def run_grid(trial: Trial) -> Outcome:
    """Run every cell of the recipe's grid, and report the best one as chosen.

    Finished cells are kept: a run that was stopped goes on with the next one.

    Raises:
        BenchError: where a cell cannot begin or go on.
    """
    from ssl_bench.training.names import HEAD, LR

    recipe: Recipe = trial.settings
    grid = recipe.config.grid
    cells = Cells(cache_dir(), dict(trial.identity), fresh=trial.fresh)
    pairs = list(itertools.product(grid["lr"], grid["head_lr_mult"]))
    done: dict[str, dict[str, Any]] = {}
    for number, (lr, multiple) in enumerate(pairs, start=1):
        name = f"lr{lr:g}_head{multiple:g}"
        finished = cells.get(name)
        if finished is None:
            note(f"cell {number} of {len(pairs)}: {name}")
            finished = _run_cell(trial, name, {LR: lr, HEAD: multiple})
            if rank() == 0:
                cells.put(name, finished)
        done[name] = finished
    best = max(done, key=lambda name: float(done[name]["top1"]))
    test = trial.dataset["test"]
    chosen = f"{test.split}, best of {len(done)} cells"
    metrics = [
        Metric(name=name, value=done[best][name], split=test.split, count=len(test))
        for name in ("top1", "top5")
        if name in done[best]
    ]
    metrics += [
        Metric(
            name=f"top1_{name}",
            value=cell["top1"],
            split=test.split,
            count=len(test),
            selection="none",
        )
        for name, cell in done.items()
    ]
    return Outcome(
        metrics=tuple(metrics),
        selection=chosen,
        counts=_counts(trial),
        details={"cells": done, "chosen": best},
    )


def _run_cell(trial: Trial, name: str, options: dict[str, Any]) -> dict[str, Any]:
    config = trial.settings.config.copy()
    config.merge_from_dict(options)
    assert trial.work_dir is not None
    recipe = dataclasses.replace(trial.settings, config=config, all_cells=False)
    outcome = train_and_report(
        dataclasses.replace(
            trial,
            settings=recipe,
            config=config,
            work_dir=trial.work_dir / name,
            # What was begun of a cell is gone on with, unless it is to be run again.
            resume=not trial.fresh,
            identity={**trial.identity, "cell": name},
        )
    )
    found: dict[str, Any] = {
        m.name: m.value for m in outcome.metrics if m.name in ("top1", "top5")
    }
    return {**found, "epochs": outcome.details["epochs"]}


def job_of(trial: Trial) -> Job:
    """Return the training run that a trial asks for."""
    from ssl_bench.training.job import Job

    assert trial.backbone is not None
    assert trial.work_dir is not None
    device = resolve_device(trial.extraction.device)
    return Job(
        recipe=trial.settings,
        backbone=trial.backbone,
        train=trial.dataset["train"],
        test=trial.dataset["test"],
        transform=trial.transform,
        seed=trial.seed,
        device=device,
        dtype=trial.extraction.dtype,
        workers=_workers(trial, device.type),
        test_batch=trial.extraction.batch_size,
        work_dir=Path(trial.work_dir),
        identity=trial.identity,
        resume=trial.resume,
        deterministic=trial.deterministic,
    )


def _workers(trial: Trial, device: str) -> int:
    asked = trial.extraction.workers
    if asked is not None:
        return asked
    if len(trial.dataset["train"]) <= _FEW_IMAGES:
        return 0
    return min(cores(), _GPU_WORKERS if device == "cuda" else _WORKERS)


def _counts(trial: Trial) -> dict[str, int]:
    return {role: len(split) for role, split in trial.dataset.items()}
