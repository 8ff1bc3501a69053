"""A record with one thing changed: what most tests of this room need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ssl_bench.results.record import Identity, Metric, Record

MakeRecord = Callable[..., Record]


@pytest.fixture
def make_record() -> MakeRecord:
    """Build a k-NN record of a made-up model; any field can be said otherwise."""

    def make(
        name: str = "model",
        metrics: Mapping[str, float] | None = None,
        *,
        protocol: str = "knn",
        dataset: str = "imagenet",
        split: str = "val",
        count: int = 50000,
        sha256: str = "f" * 64,
        bundled: bool = False,
        partial: bool = False,
        identity: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Record:
        keyed: dict[str, Any] = {
            "weights": "a" * 64,
            "arch": "resnet50",
            "encoder": "online",
            "protocol": protocol,
            "version": 1,
            "settings": {"k": [20]},
            "data": {"train": "b" * 64, split: "c" * 64},
            "transform": {"size": 224},
            "dtype": "fp32",
            "seed": 0,
        }
        numbers = {"top1_k20": 61.87} if metrics is None else metrics
        rest: dict[str, Any] = {
            "selection": "none",
            "metrics": tuple(
                Metric(name=n, value=v, split=split, count=count)
                for n, v in numbers.items()
            ),
            "code": {},
            "environment": {},
            "started": "2026-08-01T12:00:00Z",
            "seconds": 1.5,
        }
        return Record(
            identity=Identity(**{**keyed, **(identity or {})}),
            name=name,
            evaluation=f"{protocol}_{dataset}",
            checkpoint={"sha256": sha256, "partial": partial},
            dataset={"name": dataset, "bundled": bundled},
            **{**rest, **fields},
        )

    return make
