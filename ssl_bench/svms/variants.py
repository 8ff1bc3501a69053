"""The variants under which SVM numbers were published, and the settings they share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ssl_bench import pooling
from ssl_bench.backbones import Backbone
from ssl_bench.data import transforms
from ssl_bench.errors import UsageError

_POWERS = tuple(0.5**power for power in range(4, 20))


@dataclass(frozen=True)
class Variant:
    """Hold what tells one published SVM evaluation from another.

    Attributes:
        costs: the grid, in its published order: of equally good ones the first is
            taken.
        pyramid: whether the five published poolings are used; else the global average
            of the last map.
        transform: the named transform; None leaves it to the data set.
    """

    costs: tuple[float, ...]
    pyramid: bool = True
    transform: str | None = None


VARIANTS: Mapping[str, Variant] = {
    # Source: mmselfsup 0.x, tools/benchmarks/classification/svm_voc07/tools/
    #     svm_helper.py: "1.0,10.0,100.0" and the powers 0.5^4 to 0.5^19.
    "mmselfsup": Variant((1.0, 10.0, 100.0, *_POWERS)),
    # Source: facebookresearch/fair_self_supervision_benchmark, README, the command of
    #     the VOC07 SVM: ten decades, and the powers.
    "fair": Variant((*(10.0**power for power in range(-7, 3)), *_POWERS)),
    # Source: facebookresearch/vissl, configs/config/benchmark/
    #     linear_image_classification/voc07, costs_list.
    "vissl": Variant((0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)),
    # Source: facebookresearch/barlowtwins, issue 32: centre crop, the 2048-d average.
    "gap": Variant((1.0, 10.0, 100.0, *_POWERS), pyramid=False, transform="imagenet"),
}
PUBLISHED = "mmselfsup"
"""The variant of the published tables, whose metrics have bare names."""

PUBLISHED_FEATURES = frozenset(row.feature for row in pooling.VOC07_POOLS)
"""Any of them, and the best of several, may stand beside published figures."""

CELLS = {"cells": True}
WORK = {"keyed": False}


@dataclass(frozen=True)
class SvmSettings:
    """The numbers that both protocols share.

    Attributes:
        variant: whose evaluation it is: the costs, and how features are made.
        features: which of ``feat1`` to ``feat5``, or taps by their own names; the
            ``gap`` variant has one of its own.
        costs: instead of the variant's grid.
        difficult: what target -1 means in training: ``negative``, as in the published
            numbers, or ``ignore``. At test such images are always left out.
        ap: ``envelope`` (exact area, as published) or ``11point``.
        positive_weight: of positive images in the loss, beside 1 for negative ones.
        epsilon: added to a feature's length before it is divided by it.
        solver: ``newton``, or ``liblinear`` for scikit-learn's LinearSVC.
        tolerance: of ``newton``: largest duality gap, relative to half the squared
            length of the weights.
        liblinear_tolerance: of ``liblinear``.
        liblinear_steps: most iterations of ``liblinear``.
        steps: most Newton steps for one cost.
        inner: where conjugate gradients stop, relative to their start.
        inner_steps: most of their steps.
        rank: eigenvectors of the preconditioner.
        memory: bytes that the Gram matrices may take.
        few: up to so many images a problem is solved by Cholesky on its own.
        columns: problems whose products are computed together.
        together: classes solved at once; they are finished, and kept, together.
    """

    variant: Literal["mmselfsup", "fair", "vissl", "gap"] = field(
        default="mmselfsup", metadata=CELLS
    )
    # Source: mmselfsup 0.x, svm_voc07/dist_test_svm_pretrain.sh, FEAT_LIST.
    features: tuple[str, ...] = field(
        default=("feat5",), metadata={"usual": PUBLISHED_FEATURES.issuperset}
    )
    costs: tuple[float, ...] = ()
    difficult: Literal["negative", "ignore"] = "negative"
    ap: Literal["envelope", "11point"] = "envelope"
    # Source: mmselfsup 0.x, svm_voc07/tools/train_svm_kfold.py, class_weight.
    positive_weight: float = 2.0
    # Source: mmselfsup 0.x, svm_voc07/tools/svm_helper.py, normalize_features.
    epsilon: float = 1e-5
    solver: Literal["newton", "liblinear"] = "newton"
    tolerance: float = 1e-8
    # Source: mmselfsup 0.x, svm_voc07/tools/train_svm_kfold.py, LinearSVC.
    liblinear_tolerance: float = 1e-4
    liblinear_steps: int = 2000
    steps: int = field(default=100, metadata=WORK)
    inner: float = field(default=1e-4, metadata=WORK)
    inner_steps: int = field(default=100, metadata=WORK)
    rank: int = field(default=32, metadata=WORK)
    memory: int = field(default=2 << 30, metadata=WORK)
    few: int = field(default=320, metadata=WORK)
    columns: int = field(default=200, metadata=WORK)
    together: int = field(default=10, metadata=WORK)

    @property
    def grid(self) -> tuple[float, ...]:
        """The costs that are tried."""
        return self.costs or VARIANTS[self.variant].costs

    @property
    def suffix(self) -> str:
        """What the names of metrics carry; nothing for the published variant."""
        return "" if self.variant == PUBLISHED else f"_{self.variant}"

    def validate(self) -> list[str]:
        """Return what is wrong with the values."""
        found = []
        if not self.features:
            found.append("features is empty; name at least one, as in feat5")
        for name in ("features", "costs"):
            values: Sequence[Any] = getattr(self, name)
            if len(set(values)) != len(values):
                found.append(f"{name}={list(values)} names a value twice")
        found += [
            f"costs holds {cost}; a cost is a number above 0"
            for cost in self.costs
            if not (cost > 0 and math.isfinite(cost))
        ]
        found += [
            f"{name}={getattr(self, name)} is not a number above 0"
            for name in (
                "positive_weight",
                "epsilon",
                "tolerance",
                "liblinear_tolerance",
                "inner",
            )
            if not (
                _is_number(getattr(self, name))
                and 0 < getattr(self, name) < float("inf")
            )
        ]
        found += [
            f"{name}={getattr(self, name)} is not 1 or more"
            for name in (
                "liblinear_steps",
                "steps",
                "inner_steps",
                "rank",
                "memory",
                "columns",
                "together",
            )
            if _is_number(getattr(self, name)) and getattr(self, name) < 1
        ]
        if self.variant == "gap" and self.features not in (("feat5",), ("final",)):
            found.append(
                f"features={list(self.features)}: the variant gap has one feature, the "
                "average of the last map; leave features out"
            )
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sites_of(
    settings: SvmSettings,
    backbone: Backbone | None,
    transform: Sequence[Mapping[str, Any]],
) -> list[pooling.Site]:
    """Return where the features of a variant are taken.

    Args:
        settings: variant and names.
        backbone: says which taps there are; None where features were given.
        transform: says whether all images end in one size.

    Raises:
        BenchError: for a feature that this backbone does not have.
        UsageError: for two names of one feature.
    """
    if backbone is None:
        if settings.features != SvmSettings.features:
            raise UsageError(
                f"given features are of one tap, and {', '.join(settings.features)} "
                "was asked for: leave out --feature-list"
            )
        return [pooling.Site("given", "given", "given")]
    if not VARIANTS[settings.variant].pyramid:
        return [pooling.gap_site(backbone)]
    size = transforms.output_size(tuple(dict(item) for item in transform))
    sites = pooling.voc07_sites(backbone, size, settings.features)
    for first, second in itertools.combinations(sites, 2):
        if (first.tap, first.pooling) == (second.tap, second.pooling):
            raise UsageError(
                f"{first.feature} and {second.feature} are the same feature of "
                f"{backbone.arch}; name it once"
            )
    return sites
