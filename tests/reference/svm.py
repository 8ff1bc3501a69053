"""The SVM protocols by their definition: loops, float64, scikit-learn's LinearSVC.

Axes: N images, D dimensions, C classes. Targets are 1 (shows the class), 0 (does not)
and -1 (difficult, or outside a low-shot draw). Every class needs positives wherever it
is trained or tested; what to do without them is not the reference's to say.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from tests.reference import average_precision

AP = {
    "envelope": average_precision.envelope,
    "11point": average_precision.eleven_points,
}


def normalised(feats_ND: NDArray[Any]) -> NDArray[np.float64]:
    """Return x / (length of x + 1e-5) of every row."""
    rows = []
    for row in feats_ND.astype(np.float64).tolist():
        length = math.sqrt(math.fsum(x * x for x in row))
        rows.append([x / (length + 1e-5) for x in row])
    return np.array(rows, dtype=np.float64)


def folds(
    positive_N: NDArray[np.bool_], count: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return (train, held out) images of every fold, stratified and unshuffled."""
    labels_N = np.array([1 if positive else -1 for positive in positive_N])
    splitter = StratifiedKFold(count)
    return list(splitter.split(np.zeros((len(labels_N), 1)), labels_N))


def fit(
    feats_ND: NDArray[np.float64],
    labels_N: NDArray[np.integer[Any]],
    cost: float,
    tol: float = 1e-4,
    max_iter: int = 2000,
    weight: float = 2.0,
) -> tuple[NDArray[np.float64], float]:
    """Return weights and intercept of a linear SVM on labels 1 and -1."""
    model = LinearSVC(
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        tol=tol,
        C=cost,
        fit_intercept=True,
        intercept_scaling=1.0,
        class_weight={1: weight, -1: 1.0},
        max_iter=max_iter,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(feats_ND, labels_N)
    return model.coef_[0], float(model.intercept_[0])


def objective(
    feats_ND: NDArray[np.float64],
    labels_N: NDArray[np.integer[Any]],
    w_D: NDArray[np.float64],
    b: float,
    cost: float,
    weight: float = 2.0,
) -> float:
    """Return 1/2 (w.w + b^2) + C sum of s max(0, 1 - y (w.x + b))^2."""
    losses = []
    for x_D, label in zip(feats_ND.tolist(), labels_N.tolist(), strict=True):
        score = math.fsum(x * w for x, w in zip(x_D, w_D.tolist(), strict=True)) + b
        share = weight if label == 1 else 1.0
        losses.append(share * max(0.0, 1 - label * score) ** 2)
    squares = math.fsum(w * w for w in w_D.tolist()) + b * b
    return squares / 2 + cost * math.fsum(losses)


def model_ap(
    feats_ND: NDArray[np.float64],
    targets_N: NDArray[np.integer[Any]],
    w_D: NDArray[np.float64],
    b: float,
    rule: str = "envelope",
) -> float:
    """Return the AP in percent over the images whose target is not -1."""
    kept = [image for image, target in enumerate(targets_N) if target != -1]
    scores = (feats_ND[kept] @ w_D + b).tolist()
    return AP[rule](scores, [bool(targets_N[image] == 1) for image in kept])


def first_best(values: Sequence[float]) -> int:
    """Return where the largest value stands first."""
    best = 0
    for number, value in enumerate(values):
        if value > values[best]:
            best = number
    return best


def cross_validated(
    feats_ND: NDArray[np.float64],
    labels_N: NDArray[np.integer[Any]],
    cost: float,
    count: int,
    **solver: Any,
) -> float:
    """Return the mean over folds of scikit-learn's AP on the fold held out, percent."""
    found = []
    for train, held in folds(labels_N == 1, count):
        w_D, b = fit(feats_ND[train], labels_N[train], cost, **solver)
        scores = feats_ND[held] @ w_D + b
        found.append(100 * average_precision_score(labels_N[held] == 1, scores))
    return float(np.mean(found))


def full(
    train_ND: NDArray[Any],
    train_NC: NDArray[np.integer[Any]],
    test_ND: NDArray[Any],
    test_NC: NDArray[np.integer[Any]],
    costs: Sequence[float],
    *,
    count: int = 3,
    difficult: str = "negative",
    rule: str = "envelope",
    **solver: Any,
) -> dict[str, Any]:
    """Return per class the AP of every cost, the cost chosen, the test AP; and mAP.

    ``cross_validated[class][cost]`` and ``chosen[class]`` (a place in ``costs``),
    ``ap[class]`` and ``map`` are in percent. Features are as extracted.
    """
    train_ND, test_ND = normalised(train_ND), normalised(test_ND)
    found: dict[str, Any] = {"cross_validated": [], "chosen": [], "ap": []}
    for c in range(train_NC.shape[1]):
        used, labels = [], []
        for image, target in enumerate(train_NC[:, c]):
            if target == -1 and difficult == "ignore":
                continue
            used.append(image)
            labels.append(1 if target == 1 else -1)
        labels_N = np.array(labels)
        by_cost = [
            cross_validated(train_ND[used], labels_N, cost, count, **solver)
            for cost in costs
        ]
        chosen = first_best(by_cost)
        w_D, b = fit(train_ND[used], labels_N, costs[chosen], **solver)
        found["cross_validated"].append(by_cost)
        found["chosen"].append(chosen)
        found["ap"].append(model_ap(test_ND, test_NC[:, c], w_D, b, rule))
    found["map"] = float(np.mean(found["ap"]))
    return found


def draw(
    targets_NC: NDArray[np.integer[Any]], seed: int, sample: int, k: int
) -> NDArray[np.int8]:
    """Return a low-shot draw: k positives and (C - 1) k negatives a class, else -1."""
    images, classes = targets_NC.shape
    drawn = [[-1] * classes for _ in range(images)]
    for c in range(classes):
        rng = np.random.RandomState([seed, sample, k, c])
        positives = [n for n in range(images) if targets_NC[n, c] == 1]
        negatives = [n for n in range(images) if targets_NC[n, c] == 0]
        for n in list(rng.permutation(positives))[:k]:
            drawn[n][c] = 1
        for n in list(rng.permutation(negatives))[: (classes - 1) * k]:
            drawn[n][c] = 0
    return np.array(drawn, dtype=np.int8)


def lowshot(
    train_ND: NDArray[Any],
    train_NC: NDArray[np.integer[Any]],
    test_ND: NDArray[Any],
    test_NC: NDArray[np.integer[Any]],
    costs: Sequence[float],
    shots: Sequence[int],
    samples: int,
    seed: int,
    *,
    draws: Mapping[tuple[int, int], NDArray[np.integer[Any]]] | None = None,
    **solver: Any,
) -> dict[int, dict[str, Any]]:
    """Return per k the test mAP of every sample and cost, and both rules' choices.

    Per k: ``maps[sample][cost]``; ``held_maps[sample][cost]`` over the trainval images
    outside the sample, of the classes that have both kinds left there, None where no
    class has; ``chosen``, ``mean``, ``min``, ``max`` and ``std`` by the published rule;
    ``held_chosen[sample]``, ``held_map[sample]``, ``held_mean`` and ``held_std`` by the
    held-out rule, all four None where any sample leaves nothing to choose by. All in
    percent, choices are places in ``costs``. ``draws`` by (sample from 0, k) stand in
    for the seeded ones.
    """
    train_ND, test_ND = normalised(train_ND), normalised(test_ND)
    found: dict[int, dict[str, Any]] = {}
    for k in shots:
        maps, held_maps = [], []
        for sample in range(samples):
            given = draws is not None
            drawn_NC = draws[sample, k] if given else draw(train_NC, seed, sample, k)
            tested, held = [], []
            for cost in costs:
                one = _one_cost(
                    train_ND, train_NC, test_ND, test_NC, drawn_NC, cost, solver
                )
                tested.append(one[0])
                held.append(one[1])
            maps.append(tested)
            held_maps.append(held)
        means = [
            float(np.mean([maps[s][j] for s in range(samples)]))
            for j in range(len(costs))
        ]
        chosen = first_best(means)
        at_chosen = [maps[s][chosen] for s in range(samples)]
        held_chosen = held_map = held_mean = held_std = None
        if not any(None in row for row in held_maps):
            held_chosen = [first_best(row) for row in held_maps]
            held_map = [maps[s][held_chosen[s]] for s in range(samples)]
            held_mean = float(np.mean(held_map))
            held_std = _population_std(held_map)
        found[k] = {
            "maps": maps,
            "held_maps": held_maps,
            "chosen": chosen,
            "mean": means[chosen],
            "min": min(at_chosen),
            "max": max(at_chosen),
            "std": _population_std(at_chosen),
            "held_chosen": held_chosen,
            "held_map": held_map,
            "held_mean": held_mean,
            "held_std": held_std,
        }
    return found


def _one_cost(
    train_ND: NDArray[np.float64],
    train_NC: NDArray[np.integer[Any]],
    test_ND: NDArray[np.float64],
    test_NC: NDArray[np.integer[Any]],
    drawn_NC: NDArray[np.integer[Any]],
    cost: float,
    solver: Mapping[str, Any],
) -> tuple[float, float | None]:
    """Return the mAP on the test images and on the trainval images not drawn."""
    tested, held = [], []
    for c in range(train_NC.shape[1]):
        used = [n for n, target in enumerate(drawn_NC[:, c]) if target != -1]
        labels_N = np.array([1 if drawn_NC[n, c] == 1 else -1 for n in used])
        w_D, b = fit(train_ND[used], labels_N, cost, **solver)
        tested.append(model_ap(test_ND, test_NC[:, c], w_D, b))
        rest = [n for n, target in enumerate(drawn_NC[:, c]) if target == -1]
        if {0, 1} <= {int(train_NC[n, c]) for n in rest}:
            held.append(model_ap(train_ND[rest], train_NC[rest, c], w_D, b))
    return float(np.mean(tested)), float(np.mean(held)) if held else None


def _population_std(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
