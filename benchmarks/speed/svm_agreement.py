"""The SVM solver against liblinear run to its end: objectives, costs, precision.

    python -m benchmarks.speed.svm_agreement

Both solve the whole protocol (classes x folds x 19 costs) and one low-shot draw of
every k on three data sets that neither was tuned on: made features with fewer images
than dimensions and with more, of another seed and other dimensions than those of the
speed measurement, and the bundled network's features of windows of real photographs.
More than 1,024 images each, so that the Gram matrix is made of float32 products as it
is at full size.

liblinear is scikit-learn's LinearSVC by dual coordinate descent, to a tolerance of 1e-8
with as many iterations as that takes, on one core a few minutes in all; the primal
method (``dual=False``) was not needed. What both reach is told here and not by them:
objectives in float64 from the weights, and from the gradient how far above the least
one liblinear's can be. Every problem is compared, not a sample. Average precision is in
points, percent of 0 to 100; 0.01 points are 1e-4 of it as a share.

Axes: N images, E dimensions and one for the intercept, C classes, P problems, K costs.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ssl_bench
from benchmarks.speed import measure, svm_features
from benchmarks.speed.svm import all_draws
from ssl_bench import pooling
from ssl_bench.features import Features
from ssl_bench.protocols import lowshot, svm
from ssl_bench.resources import find_dir
from ssl_bench.svms import full, low
from ssl_bench.svms.labels import Place, Split
from ssl_bench.svms.machine import Fit, Floats, LiblinearMachine, Machine, Numbers

SEED = 20_477
SHAPES = {"made, N < D": (1200, 1536), "made, N > D": (2500, 2048)}
CLASSES = (0, 2, 5, 8, 11, 14, 16, 19)
"""Of VOC2007's twenty; the most and the least frequent one are among them."""

SIDE, STRIDE = 96, 12
SHOWN = ("china", "blue", "bright", "rough", "low")
_QUANTILES = {1: 0.9, 2: 0.67, 3: 0.95, 4: 0.8}

BARS = {"objective_relative": 1e-6, "cv_ap_points": 0.01, "map_points": 0.02}

Settings = svm.Settings | lowshot.Settings


def place_of(
    name: str,
    classes: tuple[str, ...],
    train: tuple[NDArray[np.float32], NDArray[np.int8]],
    test: tuple[NDArray[np.float32], NDArray[np.int8]],
) -> Place:
    """Return features and targets of both splits as the protocols see them."""
    splits = [
        Split(Features(feats_ND, targets_NC, "-", "-", name, role, role), *rest)
        for role, (feats_ND, targets_NC) in (("train", train), ("test", test))
        for rest in [(targets_NC, classes)]
    ]
    return Place("feat5", *splits)


def made(images: int, dims: int) -> Place:
    """Return made features: so many images to train on, all 4,952 to test."""
    train_ND, train_NC, test_ND, test_NC = svm_features.make(dims, SEED)
    return place_of(
        "made",
        tuple(f"class {c}" for c in CLASSES),
        (train_ND[:images], train_NC[:images, CLASSES]),
        (test_ND, test_NC[:, CLASSES]),
    )


def windows(stride: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Cut scikit-learn's two photographs into overlapping windows.

    Args:
        stride: pixels from one window to the next.

    Returns:
        Windows (N, H, W, 3), and what they show, told from their pixels (N, C).
    """
    from sklearn.datasets import load_sample_images

    found, shown = [], []
    for number, photo in enumerate(load_sample_images().images):
        height, width = photo.shape[:2]
        for top in range(0, height - SIDE + 1, stride):
            for left in range(0, width - SIDE + 1, stride):
                window = photo[top : top + SIDE, left : left + SIDE]
                grey = window.mean(axis=2)
                found.append(window)
                shown.append(
                    (
                        number == 0,
                        window[..., 2].mean() - window[..., 0].mean(),
                        grey.mean(),
                        np.abs(np.diff(grey, axis=1)).mean(),
                        top,
                    )
                )
    values_NC = np.array(shown, dtype=np.float64)
    # Shares of images from a half to a twentieth show a class.
    limits_C = np.array(
        [0.5, *(np.quantile(values_NC[:, c], q) for c, q in _QUANTILES.items())]
    )
    return np.stack(found), (values_NC > limits_C).astype(np.int8)


def photographs(stride: int) -> Place:
    """Return the bundled network's features of windows, every second to train on."""
    images_NHWC, targets_NC = windows(stride)
    backbone = ssl_bench.load_backbone(
        find_dir("bundled") / "digit-scenes_resnet18-w24.pth"
    )
    site = pooling.voc07_sites(backbone, (SIDE, SIDE), ["feat5"])[0]
    shape = (1, 3, 1, 1)
    mean = torch.tensor(backbone.input.mean).view(shape)
    std = torch.tensor(backbone.input.std).view(shape)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images_NHWC), 64):
            block = torch.from_numpy(images_NHWC[start : start + 64])
            images = (block.permute(0, 3, 1, 2).float() / 255 - mean) / std
            maps = backbone.forward_taps(images, [site.tap])
            rows.append(pooling.pool(maps[site.tap], site.pooling, backbone).numpy())
    feats_ND = np.concatenate(rows)
    return place_of(
        "photographs",
        SHOWN,
        (feats_ND[::2], targets_NC[::2]),
        (feats_ND[1::2], targets_NC[1::2]),
    )


def judge(
    rows_NE: Floats, signs_NP: Numbers, weights_NP: Numbers, cost: float, models_EP: Any
) -> tuple[Floats, Floats]:
    """Return the objectives of models, and how far above the least they can be.

    The objective is 1-strongly convex in weights and intercept: half the squared length
    of its gradient bounds what is left.

    Args:
        rows_NE: normalised features and a 1.
        signs_NP: labels, +1 or -1.
        weights_NP: weights; 0 leaves an image out.
        cost: C.
        models_EP: weights and, in the last row, intercepts, float64.
    """
    short_NP = np.maximum(0, 1 - signs_NP * (rows_NE @ models_EP))
    losses_P = (weights_NP * short_NP**2).sum(axis=0)
    slopes_EP = models_EP - rows_NE.T @ (2 * cost * weights_NP * signs_NP * short_NP)
    return (
        0.5 * (models_EP**2).sum(axis=0) + cost * losses_P,
        0.5 * (slopes_EP**2).sum(axis=0),
    )


class Watched(Machine):
    """Pass on what a machine fits, and judge every model on the way.

    Args:
        inner: the machine.

    Attributes:
        objectives_PK: of every problem at every cost.
        bounds_PK: how far above the least ones they can be.
    """

    def __init__(self, inner: Machine) -> None:
        super().__init__(
            inner.train_ND,
            inner.test_MD,
            inner.settings,
            seed=inner.seed,
            device=inner.device,
        )
        self.inner = inner
        # Divided in float32, as both solvers read them; all sums are float64.
        lengths_N1 = np.linalg.norm(inner.train_ND.astype(np.float64), axis=1)[:, None]
        scaled_ND = inner.train_ND / (lengths_N1 + inner.settings.epsilon).astype("f4")
        self._rows_NE: Floats = np.hstack(
            [scaled_ND.astype(np.float64), np.ones((len(scaled_ND), 1))]
        )

    def prepare(self, *, test: bool) -> None:
        """Compute what all problems share."""
        self.inner.prepare(test=test)

    def fits(
        self, signs_NP: Numbers, weights_NP: Numbers, *, test: bool
    ) -> Iterator[Fit]:
        """Solve problems at every cost of the grid, as the machine does."""
        shape = (signs_NP.shape[1], len(self.settings.grid))
        self.objectives_PK = np.full(shape, np.nan)
        self.bounds_PK = np.full(shape, np.nan)
        for fit in self.inner.fits(signs_NP, weights_NP, test=test):
            models = fit.models_KP.numpy()
            if not isinstance(self.inner, LiblinearMachine):
                models = self._rows_NE.T @ models
            at = (fit.columns, fit.index)
            self.objectives_PK[at], self.bounds_PK[at] = judge(
                self._rows_NE,
                signs_NP[:, fit.columns],
                weights_NP[:, fit.columns],
                self.settings.grid[fit.index],
                models,
            )
            yield fit

    def test(self, models_NP: torch.Tensor) -> Floats:
        """Return the decisions of models on the test split, (M, P)."""
        return self.inner.test(models_NP)


@dataclass(frozen=True)
class Solved:
    """Hold what one solver made of one protocol.

    Attributes:
        classes: what the protocol says of each class.
        objectives_PK: of every problem at every cost.
        bounds_PK: how far above the least ones they can be.
    """

    classes: list[dict[str, Any]]
    objectives_PK: Floats
    bounds_PK: Floats

    @property
    def unsolved(self) -> list[str]:
        """The problems whose solver stopped early."""
        return [name for one in self.classes for name in one["unsolved"]]


def solve(place: Place, settings: Settings) -> Solved:
    """Solve one protocol by the solver that its settings name."""
    kind = LiblinearMachine if settings.solver == "liblinear" else Machine
    feats = (place.train.features.feats_ND, place.test.features.feats_ND)
    machine = Watched(kind(*feats, settings, seed=SEED, device="cpu"))
    group = range(len(place.train.classes))
    if isinstance(settings, lowshot.Settings):
        machine.prepare(test=True)
        draws = all_draws(place, settings)
        found = low.solve_classes(machine, group, place, draws, settings)
    else:
        machine.prepare(test=False)
        found = full.solve_classes(machine, group, place, settings, settings.folds)
    return Solved(list(found.values()), machine.objectives_PK, machine.bounds_PK)


def to_the_end(settings: Any) -> Any:
    """Return the same settings for liblinear, with a tolerance that it has to reach."""
    return dataclasses.replace(
        settings, solver="liblinear", liblinear_tolerance=1e-8, liblinear_steps=10**7
    )


def objectives(ours: Solved, theirs: Solved, costs: tuple[float, ...]) -> Any:
    """Compare the objectives of all problems; relative to liblinear's."""
    apart_PK = ours.objectives_PK / theirs.objectives_PK - 1
    within_PK = np.abs(apart_PK) < BARS["objective_relative"]
    return {
        "problems": apart_PK.size,
        "largest_relative": _short(np.abs(apart_PK).max()),
        "ours_above": _short(apart_PK.max()),
        "ours_below": _short(-apart_PK.min()),
        "share_within_bar": float(within_PK.mean()),
        "liblinear_bound": _short((theirs.bounds_PK / theirs.objectives_PK).max()),
        "unsolved": {"ours": ours.unsolved, "liblinear": theirs.unsolved},
        "by_cost": {
            f"{costs[k]:.3g}": {
                "largest_relative": _short(np.abs(apart_PK[:, k]).max()),
                "share_within_bar": float(within_PK[:, k].mean()),
            }
            for k in sorted(range(len(costs)), key=lambda k: costs[k])
        },
    }


def choices(ours: Solved, theirs: Solved, classes: tuple[str, ...]) -> dict[str, Any]:
    """Compare the costs that cross-validation chooses, and its precision.

    Two choices are apart by what the one loses against the other on either solver's
    curve, whichever is more.
    """
    rows = []
    for name, mine, other in zip(classes, ours.classes, theirs.classes, strict=True):
        apart = [
            abs(one["cv_ap"][mine["chosen"]] - one["cv_ap"][other["chosen"]])
            for one in (mine, other)
        ]
        rows.append(
            {
                "class": name,
                "ours": mine["cost"],
                "liblinear": other["cost"],
                "apart_points": _short(max(apart)),
            }
        )
    curves = [np.array([c["cv_ap"] for c in one.classes]) for one in (ours, theirs)]
    return {
        "classes": rows,
        "same_cost": sum(row["ours"] == row["liblinear"] for row in rows),
        "largest_apart_points": max(row["apart_points"] for row in rows),
        "largest_apart_points_at_one_cost": _short(np.abs(curves[0] - curves[1]).max()),
    }


def precision(ours: Solved, theirs: Solved) -> dict[str, float]:
    """Compare test mAP: of every draw and cost, where there are several."""
    means = [
        np.mean([one["ap"] for one in solved.classes], axis=0)
        for solved in (ours, theirs)
    ]
    apart = {"largest_apart_points": _short(np.abs(means[0] - means[1]).max())}
    if means[0].ndim:
        return {"numbers": means[0].size, **apart}
    return {"ours": float(means[0]), "liblinear": float(means[1]), **apart}


def compare(place: Place, whole: svm.Settings, few: lowshot.Settings) -> dict[str, Any]:
    """Solve both protocols by both solvers, and compare."""
    solved = {
        name: (solve(place, settings), solve(place, to_the_end(settings)))
        for name, settings in (("full", whole), ("lowshot", few))
    }
    report: dict[str, Any] = {
        "images": {"train": len(place.train), "test": len(place.test)},
        "dimensions": place.train.features.feats_ND.shape[1],
        "positives": {
            name: place.train.positives(c) for c, name in enumerate(place.train.classes)
        },
        "objectives": {
            name: objectives(*pair, settings.grid)
            for (name, pair), settings in zip(solved.items(), (whole, few), strict=True)
        },
        "cost_by_cross_validation": choices(*solved["full"], place.train.classes),
        "test_map": precision(*solved["full"]),
        "lowshot_map": precision(*solved["lowshot"]),
    }
    report["within_bars"] = within_bars(report)
    return report


def within_bars(report: dict[str, Any]) -> dict[str, bool]:
    """Tell which bars a comparison keeps."""
    pairs = report["objectives"].values()
    return {
        "objectives": all(p["share_within_bar"] == 1 for p in pairs),
        "liblinear_converged": not any(p["unsolved"]["liblinear"] for p in pairs),
        **{
            name: report[name]["largest_apart_points"] < bar
            for name, bar in (
                ("cost_by_cross_validation", BARS["cv_ap_points"]),
                ("test_map", BARS["map_points"]),
                ("lowshot_map", BARS["map_points"]),
            )
        },
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    """Compare on all data sets and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    whole, few = svm.Settings(), lowshot.Settings(samples=1)
    report: dict[str, Any] = {"bars": BARS}
    for name, (images, dims) in SHAPES.items():
        report[name] = compare(made(images, dims), whole, few)
        print(name, report[name]["within_bars"], flush=True)
    report["photographs"] = compare(photographs(STRIDE), whole, few)
    report["machine"] = measure.machine(("ssl_bench", "torch", "numpy", "scikit-learn"))
    measure.write("svm_agreement", report, args.out)


if __name__ == "__main__":
    main()
