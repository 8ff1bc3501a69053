"""Linear SVMs on frozen features, one a class: the VOC07 SVM.

Data: VOC2007 classification, trained on trainval, reported on test; every image with
its short edge at 256 and then squashed to 224 x 224. Feature: stem and stages of the
network, each pooled to some 9,000 numbers (feat1 to feat5); feat5 unless others are
asked for. Features are divided by their length plus 1e-5.

Rule: for every class an L2-regularised linear SVM with squared hinge loss, positive
images weighed twice, the intercept regularised. The cost is chosen by 3-fold
cross-validation on trainval, stratified and unshuffled, by average precision as
scikit-learn counts it; of equally good costs the first of the grid. The model at that
cost is trained on all of trainval and reported by its average precision at test: exact
area under the monotone envelope, or VOC2007's own eleven points (``ap=11point``). mAP
is the mean over the classes. Difficult images are negatives in training and left out at
test, as in the published numbers; ``difficult=ignore`` leaves them out in both.

Variants, each in a column of its own: ``mmselfsup`` (19 costs), ``fair`` (26 costs),
``vissl`` (11 costs), ``gap`` (the 2048-d average of the last map, centre crop). With
several features the best is shown as MMSelfSup's tables do, and marked: it is chosen on
the test split. Data with one label an image are evaluated class against all others.

Source: MMSelfSup 0.x, tools/benchmarks/classification/svm_voc07; Goyal et al. 2019,
    arXiv:1905.01235, section 6.1; facebookresearch/fair_self_supervision_benchmark;
    facebookresearch/vissl.
Expected: torchvision's supervised ResNet-50 87.17 mAP; MMSelfSup
    byol_resnet50_8xb32-accum16-coslr-200e_in1k 86.31; random initialisation 30.54.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ssl_bench.backbones import Backbone
from ssl_bench.protocols import Outcome, Trial
from ssl_bench.results.record import Metric
from ssl_bench.svms import VARIANTS, Place, SvmSettings, check_splits, sites_of
from ssl_bench.svms.full import solve_classes
from ssl_bench.svms.runs import complaints_of, finish_classes, places_of

PROTOCOL = "svm"
DATASET = "voc07"
VERSION = 1
METRICS = (r"mAP(_fair|_vissl|_gap)?(_\w+)?", r"best_layer(_fair|_vissl)?")
SEVERAL = True


@dataclass(frozen=True)
class Settings(SvmSettings):
    """The numbers of the protocol; see `SvmSettings` for the others.

    Attributes:
        folds: of the cross-validation that chooses the cost.
    """

    # Source: mmselfsup 0.x, svm_voc07/tools/train_svm_kfold.py, cross_val_score(cv=3).
    folds: int = 3

    def validate(self) -> list[str]:
        """Return what is wrong with the values."""
        found = super().validate()
        if isinstance(self.folds, int) and self.folds < 2:
            found.append(f"folds={self.folds} is not 2 or more")
        return found


def transform_name(settings: Settings) -> str | None:
    """Return the named transform of a variant; None leaves it to the data set."""
    return VARIANTS[settings.variant].transform


def wants(
    settings: Settings, backbone: Backbone, transform: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the taps at which features are asked for, each with its pooling."""
    return [(s.tap, s.pooling) for s in sites_of(settings, backbone, transform)]


def run(trial: Trial) -> Outcome:
    """Solve all classes at every feature, and report the best.

    Raises:
        FeatureError: for targets that are none, and classes with too few images.
    """
    settings: Settings = trial.settings
    sites = sites_of(settings, trial.backbone, trial.transform)
    taken = trial.features([s.tap for s in sites], {s.tap: s.pooling for s in sites})
    places = places_of(sites, taken)
    warnings: list[str] = []
    found: list[list[dict[str, Any]]] = []
    for place in places:
        warnings += check_splits(
            place.train,
            place.test,
            settings.folds,
            f"{settings.folds}-fold cross-validation",
            ignore=settings.difficult == "ignore",
        )
    for place in places:
        results = finish_classes(
            place,
            settings,
            {"protocol": PROTOCOL, "version": VERSION},
            partial(
                solve_classes, place=place, settings=settings, folds=settings.folds
            ),
            test=False,
            seed=trial.seed,
            device=trial.extraction.device,
            fresh=trial.fresh,
        )
        warnings += complaints_of(place, results)
        found.append(results)
    train, test = places[0].train.features, places[0].test.features
    return Outcome(
        metrics=tuple(_metrics(settings, places, found)),
        selection=train.split,
        counts={train.split: len(train), test.split: len(test)},
        warnings=tuple(dict.fromkeys(warnings)),
        skipped={**train.skipped, **test.skipped},
        facts={"solver": settings.solver},
        details={
            place.feature: _details(place, results)
            for place, results in zip(places, found, strict=True)
        },
    )


def _metrics(
    settings: Settings,
    places: Sequence[Place],
    found: Sequence[Sequence[Mapping[str, Any]]],
) -> list[Metric]:
    train, test = places[0].train.features, places[0].test.features
    values = [float(np.mean([result["ap"] for result in one])) for one in found]
    best = int(np.argmax(values))
    several = len(places) > 1
    # The best of several features is chosen by what is reported.
    chosen = f"{train.split} and {test.split}" if several else ""

    def metric(name: str, value: float, selection: str, unit: str) -> Metric:
        return Metric(
            f"{name}{settings.suffix}",
            value,
            test.split,
            len(test),
            unit,
            selection=selection,
        )

    metrics = [metric("mAP", values[best], chosen, "percent")]
    layer = places[best].feature.removeprefix("feat")
    if layer.isdecimal():
        metrics.append(metric("best_layer", float(layer), chosen, "feature"))
    if several:
        metrics += [
            Metric(
                f"mAP{settings.suffix}_{place.feature}", value, test.split, len(test)
            )
            for place, value in zip(places, values, strict=True)
        ]
    return metrics


def _details(place: Place, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "pooling": place.train.features.pooling,
        "dimensions": int(place.train.features.feats_ND.shape[1]),
        "classes": {
            name: {
                "ap": result["ap"],
                "cost": result["cost"],
                "cv_ap": result["cv_ap"][result["chosen"]],
                "gap": result["gap"],
            }
            for name, result in zip(place.train.classes, results, strict=True)
        },
    }
