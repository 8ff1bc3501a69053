"""Protocols: each turns a trial into metrics; one file is one protocol.

A protocol file has the protocol in prose as its docstring (with ``Source:`` and
``Expected:`` lines), ``PROTOCOL`` (its name), ``DATASET`` (the data set it was
published on), ``VERSION`` (raised whenever its numbers could move), ``METRICS``
(patterns of the metric names it may give), a frozen ``Settings`` and
``run(trial) -> Outcome``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ssl_bench.backbones import Backbone
from ssl_bench.data import ImageDataset
from ssl_bench.errors import BenchError, unknown
from ssl_bench.features import (
    ROLES,
    Extraction,
    Features,
    FeatureStore,
    check_features,
    extract_features,
)
from ssl_bench.registry import discover
from ssl_bench.results.record import Metric


@dataclass(frozen=True)
class Trial:
    """Hold everything that one run of a protocol needs.

    Attributes:
        name: the model's name in tables.
        backbone: the loaded backbone, or None where features were given.
        config: the resolved mmengine Config.
        settings: the protocol's own frozen settings, made from the config.
        dataset: one split per role (``train`` is the bank, ``test`` the queries); empty
            where features were given.
        given: features per role that came from files instead of a backbone.
        transform: the resolved operations on an image.
        seed: for every draw of the protocol.
        extraction: device, precision, batch, workers.
        store: where features are kept.
        work_dir: for what a protocol leaves beside its record, or None.
        limit: images per split of a smoke run.
    """

    name: str
    backbone: Backbone | None
    config: Any
    settings: Any
    dataset: Mapping[str, ImageDataset]
    given: Mapping[str, Features]
    transform: Sequence[Mapping[str, Any]]
    seed: int
    extraction: Extraction
    store: FeatureStore
    work_dir: Path | None = None
    limit: int | None = None

    def features(self, taps: Sequence[str]) -> dict[str, dict[str, Features]]:
        """Return checked features by role and tap, extracted in one pass per split.

        Given features have one tap, ``given``, whatever is asked for.
        """
        if self.given:
            found = {role: {"given": self.given[role]} for role in ROLES}
        else:
            assert self.backbone is not None
            found = {
                role: extract_features(
                    self.backbone,
                    self.dataset[role],
                    taps,
                    transform=self.transform,
                    extraction=self.extraction,
                    store=self.store,
                )
                for role in ROLES
            }
        for by_tap in found.values():
            for features in by_tap.values():
                check_features(features)
        return found


@dataclass(frozen=True)
class Outcome:
    """Hold what a protocol found.

    Attributes:
        metrics: in the order in which they should be read.
        selection: the split that chose a hyper-parameter; ``none`` where nothing was
            chosen.
        warnings: what a reader of the numbers has to know.
        counts: images per role that stand behind the numbers.
        skipped: images left out, with the reason.
        facts: how the work was done (backend ...); recorded, not part of the key.
    """

    metrics: tuple[Metric, ...]
    selection: str
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def protocols() -> dict[str, ModuleType]:
    """Return every protocol's module by name."""
    return discover("ssl_bench.protocols", "PROTOCOL")


def get_protocol(name: str) -> ModuleType:
    """Return one protocol's module.

    Raises:
        BenchError: with the nearest names when there is none of that name.
    """
    known = protocols()
    if name not in known:
        raise BenchError(unknown("protocol", name, known))
    return known[name]
