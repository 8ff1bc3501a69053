"""Linear SVMs on a few images of each class: the low-shot VOC07 SVM.

Data: the full SVM's, and so are the features. Rule: for k = 1, 2, 4, 8, 16, 32, 64, 96
and five samples, and for each of the C classes apart, k positive and (C - 1) k negative
images are drawn from trainval; an SVM is trained on these alone at every cost of the
grid, and measured on the whole test split. The draw comes from a seed, and its digest
stands in the record; FAIR's distributed files are read with ``sample_files=FOLDER``.

Two numbers for every k come out of one run. The published one (``mAP_k16``) takes the
cost with the highest mean test mAP over the samples: it is chosen on the test split,
and marked. The clean one (``mAP_k16_heldout``) takes for every sample the cost with the
highest mAP on the trainval images outside that sample, whose labels are used for this
choice only; a class counts there if both positive and negative images are left. Of both
mean, smallest, largest and standard deviation over the samples.

A k for which a class has too few positives is left out, and said; where there are too
few negatives all are taken.

Source: MMSelfSup 0.x, tools/benchmarks/classification/svm_voc07 (create_voc_low_shot_
    challenge_samples.py, train_svm_low_shot.py, aggregate_low_shot_svm_stats.py); Goyal
    et al. 2019, arXiv:1905.01235, section 6.1.
Expected: torchvision's supervised ResNet-50 52.99 at k = 1 and 85.97 at k = 96;
    MMSelfSup byol_resnet50_8xb32-accum16-coslr-200e_in1k 45.37 and 84.73.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.backbones import Backbone
from ssl_bench.data import lowshot as data
from ssl_bench.errors import BenchError, DataError
from ssl_bench.protocols import Outcome, Trial
from ssl_bench.results.record import Metric
from ssl_bench.svms import VARIANTS, Place, SvmSettings, check_splits, sites_of
from ssl_bench.svms.low import solve_classes
from ssl_bench.svms.runs import complaints_of, finish_classes, places_of

PROTOCOL = "lowshot"
DATASET = "voc07"
VERSION = 1
METRICS = (r"mAP(_fair|_vissl|_gap)?_k\d+(_heldout)?",)
SEVERAL = True

_SHOWN = 3


@dataclass(frozen=True)
class Settings(SvmSettings):
    """The numbers of the protocol; see `SvmSettings` for the others.

    Attributes:
        shots: positives a class.
        samples: how many draws of each number of shots.
        sample_files: folder of FAIR's ``train_targets_sample{1..5}_k{k}.npy``, instead
            of draws from the seed.
        files_digest: of their content; found when the files are read.
    """

    # Source: mmselfsup 0.x, create_voc_low_shot_challenge_samples.py.
    shots: tuple[int, ...] = field(
        default=(1, 2, 4, 8, 16, 32, 64, 96), metadata={"cells": True}
    )
    samples: int = 5
    sample_files: str = field(default="", metadata={"keyed": False})
    files_digest: str = field(default="", metadata={"cells": True})

    def validate(self) -> list[str]:
        """Return what is wrong with the values."""
        found = super().validate()
        if not self.shots:
            found.append("shots is empty; name at least one")
        found += [f"shots holds {k}; k is 1 or more" for k in self.shots if k < 1]
        if len(set(self.shots)) != len(self.shots):
            found.append(f"shots={list(self.shots)} names a value twice")
        if isinstance(self.samples, int) and self.samples < 1:
            found.append(f"samples={self.samples} is not 1 or more")
        return found


def transform_name(settings: Settings) -> str | None:
    """Return the named transform of a variant; None leaves it to the data set."""
    return VARIANTS[settings.variant].transform


def wants(
    settings: Settings, backbone: Backbone, transform: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the taps at which features are asked for, each with its pooling."""
    return [(s.tap, s.pooling) for s in sites_of(settings, backbone, transform)]


def complete(settings: Settings) -> Settings:
    """Return the settings with the digest of the sample files, where there are any.

    Raises:
        DataError: when a file is missing or cannot be read.
    """
    if not settings.sample_files:
        return dataclasses.replace(settings, files_digest="")
    digest = data.files_digest(
        Path(settings.sample_files), samples=settings.samples, shots=settings.shots
    )
    return dataclasses.replace(settings, files_digest=digest)


def run(trial: Trial) -> Outcome:
    """Train on every draw, and report both choices of the cost.

    Raises:
        FeatureError: for targets that are none, and classes without images.
        BenchError: when a k that was asked for is larger than a class.
    """
    settings: Settings = trial.settings
    sites = sites_of(settings, trial.backbone, trial.transform)
    taken = trial.features([s.tap for s in sites], {s.tap: s.pooling for s in sites})
    places = places_of(sites, taken)
    warnings: list[str] = []
    for place in places:
        warnings += check_splits(place.train, place.test, 1, "an SVM", ignore=True)
    shots, draws, more = _draws(trial, places[0])
    warnings += more
    digest = data.draw_digest(draws.values())
    found = []
    for place in places:
        results = finish_classes(
            place,
            settings,
            {"protocol": PROTOCOL, "version": VERSION, "draws": digest},
            partial(solve_classes, place=place, draws=draws, settings=settings),
            test=True,
            seed=trial.seed,
            device=trial.extraction.device,
            fresh=trial.fresh,
        )
        warnings += complaints_of(place, results)
        found.append(_aggregate(results, list(draws), settings))
    published = [
        np.mean([by_k[k]["published"].mean() for k in shots]) for by_k in found
    ]
    best = int(np.argmax(published))
    warnings += _without_clean(found[best])
    train, test = places[0].train.features, places[0].test.features
    return Outcome(
        metrics=tuple(_metrics(settings, places, shots, found[best])),
        selection=train.split,
        counts={train.split: len(train), test.split: len(test)},
        warnings=tuple(dict.fromkeys(warnings)),
        skipped={**train.skipped, **test.skipped},
        facts={"solver": settings.solver},
        details={
            "draws": digest,
            "feature": places[best].feature,
            **{
                place.feature: {f"k{k}": _details(by_k[k]) for k in shots}
                for place, by_k in zip(places, found, strict=True)
            },
        },
    )


def _draws(
    trial: Trial, place: Place
) -> tuple[tuple[int, ...], dict[tuple[int, int], NDArray[np.int8]], list[str]]:
    """Return the numbers of shots that the data allow, the draws, and warnings."""
    settings: Settings = trial.settings
    targets_NC, classes = place.train.targets_NC, place.train.classes
    shots = settings.shots
    if settings.sample_files:
        given = data.read_sample_files(
            Path(settings.sample_files),
            samples=settings.samples,
            shots=shots,
            images=len(targets_NC),
            classes=len(classes),
        )
        order = [(s, k) for k in shots for s in range(settings.samples)]
        for sample, k in order:
            _check_file(given[sample, k], targets_NC, classes, (sample, k))
        return shots, {key: given[key] for key in order}, []
    warnings = []
    short = {k: data.shortages(targets_NC, classes, [k]) for k in shots}
    too_many = [k for k in shots if short[k]]
    if too_many:
        said = "; ".join(short[too_many[0]][:_SHOWN])
        named = ", ".join(map(str, too_many))
        if "shots" in trial.config.get("settings", {}) or len(too_many) == len(shots):
            raise BenchError(f"k = {named} cannot be drawn: {said}")
        warnings.append(f"k = {named} left out: {said}")
        shots = tuple(k for k in shots if not short[k])
    negatives = int((targets_NC == 0).sum(axis=0).min())
    few = [k for k in shots if negatives < (len(classes) - 1) * k]
    if few:
        warnings.append(
            f"k = {', '.join(map(str, few))}: a class has only {negatives} negative "
            f"images where {len(classes) - 1} times k are drawn; all are taken"
        )
    draws = {
        (sample, k): data.draw(targets_NC, seed=trial.seed, sample=sample, shots=k)
        for k in shots
        for sample in range(settings.samples)
    }
    return shots, draws, warnings


def _check_file(
    drawn_NC: NDArray[np.int8],
    targets_NC: NDArray[np.int8],
    classes: Sequence[str],
    key: tuple[int, int],
) -> None:
    """Refuse a draw of other data: its labels are not those of the images.

    Raises:
        DataError: with the file and the first class that disagrees.
    """
    wrong_NC = (drawn_NC != -1) & (drawn_NC != targets_NC)
    empty_C = ~(drawn_NC == 1).any(axis=0) | ~(drawn_NC == 0).any(axis=0)
    if not wrong_NC.any() and not empty_C.any():
        return
    name = classes[int((wrong_NC.any(axis=0) | empty_C).argmax())]
    raise DataError(
        f"{data.sample_file(*key)} does not fit the data: of {name} "
        f"{int(wrong_NC.sum())} labels differ from the images', or a kind is missing; "
        "take the files that were drawn from this very split"
    )


def _aggregate(
    results: Sequence[Mapping[str, Any]],
    keys: Sequence[tuple[int, int]],
    settings: Settings,
) -> dict[int, dict[str, Any]]:
    """Return by k the mAP of every sample under both choices of the cost."""
    test_CDK = np.array([result["ap"] for result in results])
    nothing = [float("nan")] * len(settings.grid)
    held_CDK = np.array(
        [[row or nothing for row in result["held_out"]] for result in results]
    )
    found = {}
    for k in dict.fromkeys(shots for _, shots in keys):
        places = [at for at, (_, shots) in enumerate(keys) if shots == k]
        test_SK = test_CDK[:, places].mean(axis=0)
        best = int(test_SK.mean(axis=0).argmax())
        chosen = [_first_best(held_CDK[:, at]) for at in places]
        clean = [index for index in chosen if index is not None]
        found[k] = {
            "published": test_SK[:, best],
            "cost": settings.grid[best],
            "held_out": None,
            "held_out_costs": [],
        }
        if len(clean) == len(chosen):
            found[k]["held_out"] = test_SK[np.arange(len(places)), clean]
            found[k]["held_out_costs"] = [settings.grid[index] for index in clean]
    return found


def _first_best(held_CK: NDArray[np.float64]) -> int | None:
    """Return the cost with the highest mean over classes that have one."""
    there = ~np.isnan(held_CK).any(axis=1)
    return int(held_CK[there].mean(axis=0).argmax()) if there.any() else None


def _without_clean(by_k: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Say for which k nothing is left to choose a cost by."""
    left = [str(k) for k, of_k in by_k.items() if of_k["held_out"] is None]
    if not left:
        return []
    return [
        f"k = {', '.join(left)} has no held-out number: of every class the draws leave "
        "no images, or only positive or only negative ones"
    ]


def _metrics(
    settings: Settings,
    places: Sequence[Place],
    shots: Sequence[int],
    by_k: Mapping[int, Mapping[str, Any]],
) -> list[Metric]:
    train, test = places[0].train.features, places[0].test.features
    clean = train.split if len(places) == 1 else f"{train.split} and {test.split}"
    metrics = []
    for rule, suffix, selection in (
        ("published", "", test.split),
        ("held_out", "_heldout", clean),
    ):
        for k in shots:
            values = by_k[k][rule]
            if values is None:
                continue
            metrics.append(
                Metric(
                    name=f"mAP{settings.suffix}_k{k}{suffix}",
                    value=float(values.mean()),
                    split=test.split,
                    count=len(test),
                    values=tuple(map(float, values)),
                    mean=float(values.mean()),
                    std=float(values.std()),
                    selection=selection,
                )
            )
    return metrics


def _details(of_k: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cost": of_k["cost"],
        "mAP": of_k["published"].tolist(),
        "held_out_costs": of_k["held_out_costs"],
        "held_out_mAP": [] if of_k["held_out"] is None else of_k["held_out"].tolist(),
    }
