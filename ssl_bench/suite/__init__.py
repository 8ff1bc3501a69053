"""One checkpoint, several protocols, one record each.

Read `evaluation.evaluate` first: it is the whole way from a request to records. What is
offered here is imported on first use, so that reading a suite's file imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "BUNDLED_DATASET",
    "Plan",
    "RecordKeeper",
    "Request",
    "check_request",
    "deviations",
    "evaluate",
    "finished_record",
    "identify",
    "load_warnings",
    "open_backbone",
    "open_splits",
    "plan_evaluation",
    "run_request",
    "say_defaults",
    "say_loaded",
    "transform_complaints",
]

if TYPE_CHECKING:
    from ssl_bench.suite.evaluation import (
        RecordKeeper,
        deviations,
        evaluate,
        finished_record,
        identify,
        run_request,
    )
    from ssl_bench.suite.images import open_splits, transform_complaints
    from ssl_bench.suite.planning import plan_evaluation
    from ssl_bench.suite.request import (
        BUNDLED_DATASET,
        Plan,
        Request,
        check_request,
        load_warnings,
        open_backbone,
        say_defaults,
        say_loaded,
    )

_HOMES = {
    "evaluation": (
        *("RecordKeeper", "deviations", "evaluate", "finished_record", "identify"),
        "run_request",
    ),
    "images": ("open_splits", "transform_complaints"),
    "planning": ("plan_evaluation",),
    "request": (
        *("BUNDLED_DATASET", "Plan", "Request", "check_request", "load_warnings"),
        *("open_backbone", "say_defaults", "say_loaded"),
    ),
}


def __getattr__(name: str) -> Any:
    """Import what is offered on first use."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
