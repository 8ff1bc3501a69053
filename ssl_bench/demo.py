"""The whole way once, on what the package carries: a table with two rows.

The bundled backbone and the same architecture at random initialisation are evaluated on
the bundled scenes. Records go to a results folder of their own; they are marked and
never reach a table of real models.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ssl_bench.progress import note
from ssl_bench.protocols import protocols
from ssl_bench.results.record import Record
from ssl_bench.results.tables import render
from ssl_bench.suite import BUNDLED_DATASET, Request, plan_evaluation, run_request

DEMO_ARCH = "resnet18-w24"


def run_demo(request: Request) -> tuple[list[Record], str]:
    """Evaluate the bundled and a random backbone under every protocol.

    Args:
        request: results folder, extraction, seed and limit; the models and the data set
            are the demo's own.

    Returns:
        The records, and the markdown table of them.
    """
    models = (
        dataclasses.replace(request, pretrain=None, dataset=BUNDLED_DATASET),
        dataclasses.replace(
            request, pretrain="none", arch=DEMO_ARCH, dataset=BUNDLED_DATASET
        ),
    )
    records = []
    for model in models:
        backbone = None
        for name in protocols():
            plan = plan_evaluation(model, name, backbone)
            backbone = plan.backbone
            note(f"{name}: {plan.name} on {plan.dataset_name}")
            records.append(run_request(model, plan))
    return records, render(records, None, "md", (), include_bundled=True)


def default_results() -> Path:
    """Return the demo's own results folder."""
    from ssl_bench.data.roots import cache_dir

    return cache_dir() / "demo"
