"""Linear classifiers on frozen features, their settings chosen on held-out images.

Data: the train split, of which a tenth of every class, drawn from the seed, is held
out; the val split is asked once, at the end. Both under the test transform: features
are extracted once, and no backbone is in the loop. Feature: the final tap, pooled as
the backbone says, as it is and with every dimension standardised by what is trained on;
other taps and poolings, and features divided by their length, on request.

Rule: three classifiers, each reported. ``sgd``: softmax regression by SGD with momentum
0.9 and a cosine schedule, batches of 256, 10 epochs or 1000 steps, whichever is more;
13 rates, 2 weight decays and the 2 norms make 52 heads. ``logistic``: L2-regularised
logistic regression by L-BFGS at 12 costs. ``ridge``: ridge regression on one-hot
targets at 40 lambdas, relative to the mean eigenvalue of the centred features. Of each
the setting with the best top-1 accuracy on the held-out images is taken, of equally
good ones the first; it is trained anew on all of train, and that is reported. top-5
counts an image whose class is among the five highest scores.

Source: DINOv2, arXiv:2304.07193; facebookresearch/dinov2 eval/log_regression.py (costs
    chosen on a tenth of train, then all of train) and eval/linear.py (52 heads on one
    pass, which it chooses by the reported split); Hoerl and Kennard 1970 (ridge).
Expected: nothing published follows this rule to the letter. DINOv2's own linear
    evaluation, 81.1 top-1 of ViT-S/14 on ImageNet, is the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ssl_bench.backbones import Backbone
from ssl_bench.data.held_out import HeldOut, hold_out
from ssl_bench.errors import BenchError, FeatureError, UsageError
from ssl_bench.features import resolve_device
from ssl_bench.pooling import check_kind, pooling_kind
from ssl_bench.probes import TOP, Found, Site, Work
from ssl_bench.protocols import Outcome, Trial
from ssl_bench.results.record import Metric
from ssl_bench.solvers.linear_probes import complaints

PROTOCOL = "probe"
DATASET = "imagenet"
VERSION = 1
METRICS = (r"top[15]_(sgd|logistic|ridge)",)

OWN_POOLING = "backbone"
"""Stands for the backbone's own rule."""

_LEAST = math.ulp(0.0)
_FROM_ZERO = (("columns", 0), ("memory", 0))


@dataclass(frozen=True)
class Settings:
    """The numbers of the protocol.

    Attributes:
        probes: which classifiers are reported.
        taps: where features are taken.
        poolings: how a tap becomes a vector: ``backbone`` (its own rule), or a rule of
            `ssl_bench.pooling`; each is an extraction of its own.
        norms: ``none``, ``l2`` (length one) or ``standard`` (mean 0 and variance 1 of
            every dimension of what is trained on).
        share: of every class that is held out.
        rates: of ``sgd``: learning rates at the start.
        decays: of ``sgd``: weight decays, of weights and intercepts.
        momentum: of ``sgd``.
        epochs: of ``sgd``: how often every image is seen, at least.
        least_steps: of ``sgd``: epochs are added until there are so many steps.
        batch_size: of ``sgd``.
        costs: of ``logistic``: C, as scikit-learn has it.
        tolerance: of ``logistic``: largest entry of the gradient, relative to that at
            zero weights.
        steps: of ``logistic``: most steps for one cost.
        history: of ``logistic``: steps that L-BFGS remembers.
        lambdas: of ``ridge``, times the mean eigenvalue of the centred features.
        columns: classes, over all heads, that ``sgd`` trains together; 0 leaves it to
            the device.
        memory: bytes that the features trained on may take, gathered and normalised.
    """

    probes: tuple[Literal["sgd", "logistic", "ridge"], ...] = field(
        default=("sgd", "logistic", "ridge"), metadata={"cells": True}
    )
    taps: tuple[str, ...] = ("final",)
    poolings: tuple[str, ...] = (OWN_POOLING,)
    norms: tuple[Literal["none", "l2", "standard"], ...] = ("none", "standard")
    # Source: facebookresearch/dinov2 eval/log_regression.py: "10% of the train" set.
    share: float = 0.1
    # Half decades around what is published: dinov2 eval/linear.py has 1e-5 to 0.1,
    # facebookresearch/moco main_lincls.py 30, on features of other lengths.
    rates: tuple[float, ...] = (
        *(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3),
        *(1.0, 3.0, 10.0, 30.0, 100.0),
    )
    decays: tuple[float, ...] = (0.0, 1e-4)
    # Source: facebookresearch/dinov2 eval/linear.py: momentum, epochs.
    momentum: float = 0.9
    epochs: int = 10
    least_steps: int = 1000
    batch_size: int = 256
    # Source: the whole decades of facebookresearch/dinov2 eval/log_regression.py,
    #     C_POWER_RANGE; DEFAULT_MAX_ITER.
    costs: tuple[float, ...] = tuple(10.0**power for power in range(-6, 6))
    tolerance: float = 1e-4
    steps: int = 1000
    history: int = field(default=10, metadata={"keyed": False})
    lambdas: tuple[float, ...] = tuple(2.0**power for power in range(19, -21, -1))
    columns: int = field(default=0, metadata={"keyed": False})
    memory: int = field(default=2 << 30, metadata={"keyed": False})

    def validate(self) -> list[str]:
        """Return what is wrong with the values."""
        found = []
        for name, values in vars(self).items():
            if isinstance(values, tuple):
                if not values:
                    found.append(f"{name} is empty; name at least one")
                if len(set(values)) != len(values):
                    found.append(f"{name}={list(values)} names a value twice")
        for name in ("rates", "decays", "costs", "lambdas"):
            least, said = (
                (0.0, "0 or more") if name == "decays" else (_LEAST, "above 0")
            )
            found += [
                f"{name} holds {value}; each is a number {said}"
                for value in getattr(self, name)
                if not least <= value < math.inf
            ]
        ones = ("epochs", "least_steps", "batch_size", "steps", "history")
        found += [
            f"{name}={getattr(self, name)} is not {least} or more"
            for name, least in [*((name, 1) for name in ones), *_FROM_ZERO]
            if getattr(self, name) < least
        ]
        if not 0 < self.share < 1:
            found.append(f"share={self.share} is not between 0 and 1")
        if not 0 <= self.momentum < 1:
            found.append(f"momentum={self.momentum} is not 0 or more and below 1")
        if not 0 < self.tolerance < math.inf:
            found.append(f"tolerance={self.tolerance} is not a number above 0")
        return found

    def settings_of(self, probe: str) -> list[dict[str, float]]:
        """Return the settings of one classifier that are tried, in their order."""
        if probe == "sgd":
            return [
                {"rate": rate, "decay": decay, "momentum": self.momentum}
                for decay in self.decays
                for rate in self.rates
            ]
        if probe == "logistic":
            return [{"cost": cost} for cost in self.costs]
        return [{"lambda": share} for share in self.lambdas]


def wants(
    settings: Settings, backbone: Backbone, transform: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the taps at which features are asked for, each with its poolings."""
    del transform
    return [
        (tap, pooling_kind(backbone, tap) if pooling == OWN_POOLING else pooling)
        for pooling in settings.poolings
        for tap in settings.taps
    ]


def run(trial: Trial) -> Outcome:
    """Choose a setting of every classifier on held-out images, and test it.

    Raises:
        FeatureError: for multi-label targets.
        DataError: if there is one class, or nothing to hold out.
        UsageError: where given features are asked for taps.
        BenchError: where every setting of a classifier diverged.
    """
    settings: Settings = trial.settings
    sites = _sites(trial)
    part, warnings = _hold_out(trial, sites[0])
    work = Work(
        settings,
        {"protocol": PROTOCOL, "version": VERSION},
        sites,
        part,
        seed=trial.seed,
        device=resolve_device(trial.extraction.device),
        fresh=trial.fresh,
    )
    found = work.search(settings.probes)
    chosen = {probe: _best(probe, tried) for probe, tried in found.items()}
    tested = work.test(chosen)
    for name, tried in found.items():
        warnings += complaints(name, tried, {**chosen[name], **tested[name]})
    train, test = sites[0].train, sites[0].test
    return Outcome(
        metrics=tuple(
            Metric(f"{name}_{probe}", value, test.split, len(test))
            for probe, result in tested.items()
            for name in ("top1", "top5")
            if (value := result[name]) is not None
        ),
        selection=f"{train.split} (held out)",
        counts={train.split: len(train), test.split: len(test)},
        warnings=tuple(dict.fromkeys(warnings)),
        skipped={**train.skipped, **test.skipped},
        facts={"columns": work.columns},
        details={
            "held_out_images": int(part.held_N.sum()),
            **{
                probe: {
                    "chosen": chosen[probe],
                    "test": tested[probe],
                    "settings": found[probe],
                }
                for probe in settings.probes
            },
        },
    )


def _sites(trial: Trial) -> list[Site]:
    """Return both splits at every tap, pooling and norm."""
    settings: Settings = trial.settings
    for name in ("taps", "poolings"):
        if trial.given and name in trial.config.get("settings", {}):
            raise UsageError(f"given features have no {name} to choose; leave it out")
    for pooling in settings.poolings:
        if pooling != OWN_POOLING:
            check_kind(pooling)
    found = []
    for pooling in settings.poolings:
        kinds = dict.fromkeys(settings.taps, pooling)
        own = pooling == OWN_POOLING
        taken = trial.features(settings.taps, None if own else kinds)
        for tap, train in taken["train"].items():
            found += [
                Site(
                    {"tap": tap, "pooling": train.pooling, "norm": norm},
                    train,
                    taken["test"][tap],
                )
                for norm in settings.norms
            ]
    return found


def _hold_out(trial: Trial, site: Site) -> tuple[HeldOut, list[str]]:
    """Number the classes and hold images out; return what to warn of, too."""
    train, test = site.train, site.test
    for features in (train, test):
        if features.targets.ndim != 1:
            raise FeatureError(
                "a linear classifier needs one class an image, but the "
                f"{features.split} targets of {features.dataset} have shape "
                f"{features.targets.shape}; for several there is ssl-bench svm"
            )
    share = trial.settings.share
    part = hold_out(train.targets, train.split, share=share, seed=trial.seed)
    warnings = part.warnings(len(train.classes), test.targets, test.split)
    if len(part.classes_C) < TOP:
        warnings.append(f"top-{TOP} left out: there are {len(part.classes_C)} classes")
    return part, warnings


def _best(probe: str, tried: Sequence[Found]) -> Found:
    """Return the first of the best settings."""
    usable = [one for one in tried if "diverged_at" not in one]
    if not usable:
        raise BenchError(
            f"all {len(tried)} settings of {probe} diverged; pass smaller ones, as in "
            "--cfg-options rates=0.001,0.01"
        )
    return max(usable, key=lambda one: one["held_out"])
