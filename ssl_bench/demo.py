"""The whole way once, on what the package carries: tables with two rows.

The bundled backbone and the same architecture at random initialisation are evaluated on
the bundled scenes. The records are marked and never reach a table of real models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ssl_bench.results.record import Record

DATASET = "digit-scenes"

PROTOCOLS = ("knn", "svm", "lowshot", "linear", "probe", "semi")
"""What is shown; fine-tuning on all labels would take as long as the rest together."""

MODELS: tuple[Mapping[str, Any], ...] = (
    {"pretrain": None},
    {"pretrain": "none", "arch": "resnet18-w24"},
)
"""The rows of the demo's tables, as arguments of ``evaluate``."""


def run_demo(
    evaluate: Callable[..., list[Record]], protocols: Iterable[str], **request: Any
) -> list[Record]:
    """Evaluate every model of the demo under every protocol.

    Args:
        evaluate: ``ssl_bench.evaluate``.
        protocols: names.
        **request: handed through: store, extraction, seed, limit ...

    Returns:
        The records, model by model.
    """
    names = tuple(protocols)
    return [
        record
        for model in MODELS
        for record in evaluate(**model, protocols=names, dataset=DATASET, **request)
    ]
