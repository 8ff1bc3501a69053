"""From a trial to a detector or segmentor and back: what detect and segment share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ssl_bench.features import resolve_device
from ssl_bench.launch import world
from ssl_bench.progress import note
from ssl_bench.protocols import Outcome, Trial
from ssl_bench.results.record import Metric

if TYPE_CHECKING:
    from ssl_bench.openmmlab.run import Found

_ORDER = {
    "coco": tuple(
        (f"coco/{kind}_{metric}", f"{name}_{metric}")
        for kind, name in (("bbox", "box"), ("segm", "mask"))
        for metric in ("AP", "AP50", "AP75", "APs", "APm", "APl")
    ),
    "voc": tuple(
        (f"pascal_voc/{name}", f"box_{name}") for name in ("AP50", "AP", "AP75")
    ),
    "maps": tuple((name, name) for name in ("mIoU", "mAcc", "aAcc")),
}
"""OpenMMLab's names and ours, in the order in which to read them."""


def train_and_report(trial: Trial, protocol: str) -> Outcome:
    """Run the trial's recipe.

    Raises:
        BenchError: where the run cannot begin, go on or be trusted.
    """
    from ssl_bench.openmmlab.applying import Facts, apply
    from ssl_bench.openmmlab.run import Job, train_and_test

    recipe: Any = trial.settings
    device = resolve_device(trial.extraction.device)
    assert trial.backbone is not None
    assert trial.work_dir is not None
    applied = apply(
        recipe.fitted,
        Facts(
            processes=world(),
            device=device.type,
            dtype=trial.extraction.dtype,
            workers=trial.extraction.workers,
            seed=trial.seed,
            deterministic=trial.deterministic,
            short=recipe.short,
            work_dir=str(trial.work_dir),
        ),
        recipe.name,
    )
    for text in applied.notes:
        note(text)
    splits: Any = trial.dataset
    found = train_and_test(
        Job(
            protocol=protocol,
            name=recipe.name,
            applied=applied,
            backbone=trial.backbone,
            splits=splits,
            device=device,
            seed=trial.seed,
            work_dir=trial.work_dir,
            identity=trial.identity,
            resume=trial.resume,
            trained=trial.trained,
        )
    )
    if found.sheet:
        note(f"pictures: {trial.work_dir / found.sheet}")
    return Outcome(
        metrics=_metrics(trial, found),
        selection="none",
        counts={role: len(split) for role, split in trial.dataset.items()},
        warnings=(f"a cut schedule (--short {recipe.short:g})",)
        if recipe.short != 1
        else (),
        facts={**applied.facts(), "processes": world(), "compared": found.compared},
        details={
            "classwise": found.classwise,
            "evaluations": {str(step): v for step, v in found.history.items()},
            "metric": dict(recipe.keyed()["metric"]),
        },
    )


def _metrics(trial: Trial, found: Found) -> tuple[Metric, ...]:
    test = trial.dataset["test"]
    return tuple(
        Metric(name=name, value=value, split=test.split, count=len(test))
        for pairs in _ORDER.values()
        for theirs, name in pairs
        if math.isfinite(value := found.values.get(theirs, math.nan))
    )
