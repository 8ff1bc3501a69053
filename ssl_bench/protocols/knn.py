"""k-NN classification on frozen features.

Data: the train split is the bank, the val split asks; both under the test transform
(short edge 256, centre crop 224, bilinear). Feature: global average of the last map for
convolutional networks, class token after the final norm for ViT, patch mean where there
is no class token; L2-normalised for cosine similarity.

Rule: for every query the k most similar bank images vote for their class with weight
exp(similarity / T), T = 0.07; the class with the most votes is the answer. top-5 counts
a query whose class is among the five classes with the most votes. Equal similarities
take the smaller bank index, equal votes the smaller class. Nothing is selected: every k
is reported.

Beside it, by name: majority vote (``_majority``), other temperatures (``_T0.1``), and
Euclidean distance on unnormalised features (``_euclidean``) with inverse-distance
weights in place of the temperature. When bank and query are the same split, each image
is left out of its own neighbours.

Source: Wu et al. 2018, arXiv:1805.01978, section 3.4 (weighted vote, T = 0.07); DINO,
    facebookresearch/dino eval_knn.py (k = 10, 20, 100, 200); MMSelfSup 0.x,
    tools/benchmarks/classification/knn_imagenet/test_knn.py.
Expected: DINO ViT-S/16 on ImageNet 74.5 top-1 (k = 20); MMSelfSup
    simclr_resnet50_8xb32-coslr-200e_in1k 48.4 top-1 at k = 20.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np

from ssl_bench.backbones import Backbone
from ssl_bench.errors import BenchError, FeatureError
from ssl_bench.features import Features, resolve_device
from ssl_bench.launch import gather_arrays, rank, world
from ssl_bench.metrics import topk_accuracy
from ssl_bench.pooling import pooling_kind
from ssl_bench.progress import progress
from ssl_bench.protocols import Outcome, Trial
from ssl_bench.results.record import Metric
from ssl_bench.solvers import knn as solver

PROTOCOL = "knn"
DATASET = "imagenet"
VERSION = 1
METRICS = (r"top[15]_k\d+(_T[\d.]+)?(_majority)?(_euclidean)?",)

BARE_TEMPERATURE = 0.07
"""The temperature that metric names leave out. Source: Wu et al. 2018, section 3.4."""

CELLS = {"cells": True}
"""Marks a setting that chooses which cells are reported and moves none of them."""


@dataclass(frozen=True)
class Settings:
    """The numbers of the protocol.

    Attributes:
        topk: how many neighbours vote; every entry is reported.
        temperatures: of the weighted vote on cosine similarity.
        votes: ``weighted``, ``majority`` or both.
        distances: ``cosine``, ``euclidean`` or both; each is a search of its own.
        query: the role that asks; ``train`` leaves each image out of its own
            neighbours.
        tap: where features are taken.
        backend: ``auto``, ``faiss`` or ``torch``; not part of the identity.
        query_chunk: queries searched together; bounds memory only.
        bank_chunk: bank rows searched together; bounds memory only.
    """

    # Source: facebookresearch/dino eval_knn.py, --nb_knn.
    topk: tuple[int, ...] = field(default=(10, 20, 100, 200), metadata=CELLS)
    # Source: Wu et al. 2018, section 3.4.
    temperatures: tuple[float, ...] = field(default=(BARE_TEMPERATURE,), metadata=CELLS)
    votes: tuple[Literal["weighted", "majority"], ...] = field(
        default=("weighted", "majority"), metadata=CELLS
    )
    distances: tuple[Literal["cosine", "euclidean"], ...] = field(
        default=("cosine",), metadata=CELLS
    )
    query: Literal["test", "train"] = "test"
    tap: str = "final"
    backend: Literal["auto", "faiss", "torch"] = field(
        default="auto", metadata={"keyed": False}
    )
    query_chunk: int = field(default=16384, metadata={"keyed": False})
    bank_chunk: int = field(default=32768, metadata={"keyed": False})

    def validate(self) -> list[str]:
        """Return what is wrong with the values."""
        found = []
        for name in ("topk", "temperatures", "votes", "distances"):
            values = getattr(self, name)
            if not values:
                found.append(f"{name} is empty; name at least one")
            if len(set(values)) != len(values):
                found.append(f"{name}={list(values)} names a value twice")
        found += [f"topk holds {k}; k is 1 or more" for k in self.topk if k < 1]
        found += [
            f"temperatures holds {t}; a temperature is a number above 0"
            for t in self.temperatures
            if not (t > 0 and np.isfinite(t))
        ]
        found += [
            f"{name}={getattr(self, name)} is not 1 or more"
            for name in ("query_chunk", "bank_chunk")
            if getattr(self, name) < 1
        ]
        return found


def metric_name(
    top: int, k: int, vote: str, distance: str, temperature: float | None
) -> str:
    """Compose a metric's name; what is published everywhere stays bare.

    Args:
        top: 1 or 5.
        k: number of neighbours.
        vote: ``weighted`` or ``majority``.
        distance: ``cosine`` or ``euclidean``.
        temperature: of the weighted cosine vote; None elsewhere.
    """
    name = f"top{top}_k{k}"
    if temperature is not None and temperature != BARE_TEMPERATURE:
        name += f"_T{np.format_float_positional(temperature, trim='-')}"
    if vote == "majority":
        name += "_majority"
    if distance == "euclidean":
        name += "_euclidean"
    return name


def wants(
    settings: Settings, backbone: Backbone, transform: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the taps at which features are asked for, each with its pooling."""
    del transform
    return [(settings.tap, pooling_kind(backbone, settings.tap))]


def run(trial: Trial) -> Outcome:
    """Search once per distance at the largest k and vote for every k from it.

    Raises:
        FeatureError: for multi-label targets, or features from which nothing follows.
        BenchError: when a k that was asked for is larger than the bank.
    """
    settings: Settings = trial.settings
    taken = trial.features([settings.tap])
    bank = next(iter(taken["train"].values()))
    query = next(iter(taken[settings.query].values()))
    for features in (bank, query):
        _check_targets(features)
    same = bank.fingerprint == query.fingerprint
    topk, warnings = _usable_topk(trial, len(bank) - same)
    absent = np.setdiff1d(query.targets, bank.targets)
    if len(absent):
        warnings.append(
            f"{len(absent)} classes of {query.split} are not in {bank.split}; their "
            "images can never be right"
        )
    device = resolve_device(trial.extraction.device)
    backend: str = settings.backend
    if backend == "auto":
        backend = solver.default_backend(device.type)
    metrics: list[Metric] = []
    for distance in settings.distances:
        with progress(f"k-NN {distance}", len(query), unit="queries") as advance:
            neighbours = solver.search(
                query.feats_ND,
                bank.feats_ND,
                max(topk),
                metric=distance,
                backend=backend,
                device=str(device),
                query_chunk=settings.query_chunk,
                bank_chunk=settings.bank_chunk,
                leave_one_out=same,
                progress=advance,
                team=solver.Team(rank(), world(), gather_arrays),
            )
        metrics += _vote(settings, topk, distance, neighbours, bank, query)
    return Outcome(
        metrics=tuple(metrics),
        selection="none",
        counts={bank.split: len(bank), query.split: len(query)},
        warnings=tuple(warnings),
        skipped={**bank.skipped, **query.skipped},
        facts={"backend": backend, "leave_one_out": same},
    )


def _vote(
    settings: Settings,
    topk: tuple[int, ...],
    distance: str,
    neighbours: solver.Neighbours,
    bank: Features,
    query: Features,
) -> list[Metric]:
    classes = int(max(bank.targets.max(), query.targets.max())) + 1
    cells: list[tuple[str, float | None]] = []
    for vote in settings.votes:
        tempered = vote == "weighted" and distance == "cosine"
        cells += [
            (vote, temperature)
            for temperature in (settings.temperatures if tempered else (None,))
        ]
    ranks = solver.predict_cells(
        neighbours,
        bank.targets,
        num_classes=classes,
        topk=topk,
        cells=cells,
        metric=distance,
        top=5,
        query_chunk=settings.query_chunk,
    )
    return [
        Metric(
            name=metric_name(top, k, vote, distance, temperature),
            value=topk_accuracy(ranks[k, vote, temperature], query.targets, top),
            split=query.split,
            count=len(query),
        )
        for (vote, temperature), k, top in product(cells, topk, (1, 5))
    ]


def _check_targets(features: Features) -> None:
    if features.targets.ndim != 1:
        raise FeatureError(
            f"k-NN needs one class an image, but the {features.split} targets of "
            f"{features.dataset} have shape {features.targets.shape}; a multi-label "
            "set has protocols of its own"
        )


def _usable_topk(trial: Trial, bank_size: int) -> tuple[tuple[int, ...], list[str]]:
    """Return the k that the bank can answer, and a warning for those it cannot.

    A k that the user wrote down is never dropped silently or renamed: it is an error.
    """
    asked: tuple[int, ...] = trial.settings.topk
    if bank_size < 1:
        raise FeatureError("the bank holds a single image, which cannot ask itself")
    large = [k for k in asked if k > bank_size]
    if not large:
        return asked, []
    if "topk" in trial.config.get("settings", {}):
        raise BenchError(
            f"k = {', '.join(map(str, large))} is larger than the bank of {bank_size} "
            f"images; pass --cfg-options settings.topk={min(bank_size, 20)}"
        )
    usable = tuple(k for k in asked if k <= bank_size) or (bank_size,)
    names = ", ".join(map(str, large))
    return usable, [
        f"k = {names} left out: the bank has {bank_size} images; reported: "
        f"{', '.join(map(str, usable))}"
    ]
