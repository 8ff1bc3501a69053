"""Protocols: each turns a trial into metrics; one file is one protocol.

A protocol file has the protocol in prose as its docstring (with ``Source:`` and
``Expected:`` lines), ``PROTOCOL`` (its name), ``DATASET`` (the data set it was
published on), ``VERSION`` (raised whenever its numbers could move), ``METRICS``
(patterns of the metric names it may give), a frozen ``Settings`` and
``run(trial) -> Outcome``. It may have ``SEVERAL = True`` (it works on several labels an
image) and ``transform_name(settings) -> str | None`` (the named transform that its
settings ask for; None leaves the data set's own) and ``complete(settings) -> Settings``
(which fills in what is found in files that the settings name) and ``wants(settings,
backbone, transform) -> list[tuple[str, str]]`` (the taps at which it will ask for
features, each with its pooling: a suite extracts them together with those of others).

A protocol that trains has ``TRAINING = True`` instead of ``Settings``: its config is
one that mmengine's Runner trains, and ``trial.settings`` is a `Recipe`. One that trains
a detector or segmentor has ``DENSE = True`` too: its data are splits of
`ssl_bench.data.dense`, its recipe a `DenseRecipe`.
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
        fresh: whether what an earlier, unfinished run has left is done again.
        resume: whether a training run goes on from its last checkpoint.
        deterministic: whether a training run asks for deterministic kernels.
        trained: a trained detector or segmentor that is only tested; None to train.
        identity: what the record's key is made of, as plain JSON.
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
    fresh: bool = False
    resume: bool = False
    deterministic: bool = False
    trained: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)

    def features(
        self, taps: Sequence[str], poolings: Mapping[str, str] | None = None
    ) -> dict[str, dict[str, Features]]:
        """Return checked features by role and tap, extracted in one pass per split.

        Given features have one tap, ``given``, whatever is asked for.

        Args:
            taps: names out of ``backbone.dims``.
            poolings: how a tap becomes a vector, by tap, as in
                ``{"layer4": "average_6_1_0"}``; the backbone's own rule by default.
        """
        if self.given:
            found = {role: {"given": given} for role, given in self.given.items()}
        else:
            assert self.backbone is not None
            found = {
                role: extract_features(
                    self.backbone,
                    split,
                    taps,
                    transform=self.transform,
                    extraction=self.extraction,
                    store=self.store,
                    poolings=poolings,
                )
                for role, split in self.dataset.items()
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
        details: what the metrics were made of (APs by class, chosen costs ...), as
            plain JSON; the protocol's page explains it.
    """

    metrics: tuple[Metric, ...]
    selection: str
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def protocols() -> dict[str, ModuleType]:
    """Return every protocol's module by name."""
    return discover("ssl_bench.protocols", "PROTOCOL")


def trains(protocol: ModuleType) -> bool:
    """Say whether a protocol trains by mmengine's Runner."""
    return bool(getattr(protocol, "TRAINING", False))


def is_dense(protocol: ModuleType) -> bool:
    """Say whether a protocol trains detectors or segmentors."""
    return bool(getattr(protocol, "DENSE", False))


def get_protocol(name: str) -> ModuleType:
    """Return one protocol's module.

    Raises:
        BenchError: with the nearest names when there is none of that name.
    """
    known = protocols()
    if name not in known:
        raise BenchError(unknown("protocol", name, known))
    return known[name]
