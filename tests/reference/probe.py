"""The linear probes by their definition: one head after the other, float64, numpy.

Axes: N images, n images in use, D dimensions, C classes. Classes are 0 to C - 1, and
each has two images or more; what to do with others is not the reference's to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]
Model = tuple[Floats, Floats]
"""Weights (C, D) and intercepts (C,)."""


def hold_out(labels_N: Labels, share: float, seed: int) -> list[int]:
    """Return the images that are held out, ascending."""
    held: list[int] = []
    for c in range(int(labels_N.max()) + 1):
        images = [i for i, label in enumerate(labels_N) if label == c]
        count = min(max(1, math.floor(share * len(images) + 0.5)), len(images) - 1)
        drawn = np.random.RandomState([seed, c]).permutation(images)
        held += drawn[:count].tolist()
    return sorted(held)


def norm_of(rows_nD: Floats, kind: str) -> tuple[Floats, Floats]:
    """Return what is taken away from a row, and what it is divided by."""
    zeros, ones = np.zeros(rows_nD.shape[1]), np.ones(rows_nD.shape[1])
    if kind != "standard":
        return zeros, ones
    spread = rows_nD.std(axis=0)
    return rows_nD.mean(axis=0), np.where(spread == 0, math.inf, spread)


def normalised(rows_nD: Floats, kind: str, norm: tuple[Floats, Floats]) -> Floats:
    """Return rows under a norm."""
    if kind == "l2":
        return np.array([row / (math.sqrt(row @ row) or 1.0) for row in rows_nD])
    return (rows_nD - norm[0]) / norm[1]


def softmax(scores_C: Floats) -> Floats:
    """Return the shares of the classes."""
    powers = np.exp(scores_C - scores_C.max())
    return np.asarray(powers / powers.sum())


def sgd(
    rows_nD: Floats,
    labels_n: Labels,
    *,
    rate: float,
    decay: float,
    momentum: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Model:
    """Train one head by SGD with momentum and a cosine schedule, from zero."""
    classes, count = int(labels_n.max()) + 1, len(rows_nD)
    weights: Floats = np.zeros((classes, rows_nD.shape[1]))
    bias: Floats = np.zeros(classes)
    speed: Floats = np.zeros_like(weights)
    bias_speed: Floats = np.zeros_like(bias)
    total, step = epochs * math.ceil(count / batch_size), 0
    for epoch in range(epochs):
        order = np.random.RandomState([seed, epoch]).permutation(count)
        for start in range(0, count, batch_size):
            batch = order[start : start + batch_size]
            slope, bias_slope = np.zeros_like(weights), np.zeros_like(bias)
            for i in batch:
                error = softmax(weights @ rows_nD[i] + bias)
                error[labels_n[i]] -= 1
                slope += np.outer(error, rows_nD[i]) / len(batch)
                bias_slope += error / len(batch)
            speed = momentum * speed + slope + decay * weights
            bias_speed = momentum * bias_speed + bias_slope + decay * bias
            now = rate * (1 + math.cos(math.pi * step / total)) / 2
            weights, bias = weights - now * speed, bias - now * bias_speed
            step += 1
    return weights, bias


def logistic(rows_nD: Floats, labels_n: Labels, cost: float) -> Model:
    """Solve L2-regularised multinomial logistic regression by scipy."""
    classes, dims = int(labels_n.max()) + 1, rows_nD.shape[1]
    told = np.eye(classes)[labels_n]

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-classes].reshape(classes, dims), flat[-classes:]
        scores = rows_nD @ weights.T + bias
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        error = np.exp(logs) - told
        value = -(logs * told).sum() * cost + 0.5 * (weights**2).sum()
        slope = cost * error.T @ rows_nD + weights
        return float(value), np.append(slope.ravel(), cost * error.sum(axis=0))

    found = minimize(
        objective,
        np.zeros(classes * (dims + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 100_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9},
    ).x
    return found[:-classes].reshape(classes, dims), found[-classes:]


def ridge(rows_nD: Floats, labels_n: Labels, share: float) -> Model:
    """Solve ridge regression on one-hot targets, one column after the other."""
    classes, dims = int(labels_n.max()) + 1, rows_nD.shape[1]
    mean = rows_nD.mean(axis=0)
    centred = rows_nD - mean
    scatter = centred.T @ centred
    penalty = share * np.trace(scatter) / dims
    weights, bias = np.zeros((classes, dims)), np.zeros(classes)
    for c in range(classes):
        target = (labels_n == c).astype(np.float64)
        weights[c] = np.linalg.solve(
            scatter + penalty * np.eye(dims), centred.T @ (target - target.mean())
        )
        bias[c] = target.mean() - weights[c] @ mean
    return weights, bias


def fit(kind: str, rows: Floats, labels: Labels, setting: Mapping[str, Any]) -> Model:
    """Fit a classifier at a setting, which has what it needs beside a ``norm``."""
    numbers = {name: value for name, value in setting.items() if name != "norm"}
    if kind == "sgd":
        return sgd(rows, labels, **numbers)
    if kind == "logistic":
        return logistic(rows, labels, numbers["cost"])
    return ridge(rows, labels, numbers["lambda"])


def ranks(model: Model, rows_nD: Floats) -> NDArray[np.int64]:
    """Return the classes of every row, the highest score first."""
    scores = rows_nD @ model[0].T + model[1]
    return np.argsort(-scores, axis=1, kind="stable")


def accuracy(found: NDArray[np.int64], labels: Labels, top: int) -> float:
    """Return the percentage of rows whose class is among the first."""
    right = [label in row[:top] for row, label in zip(found, labels, strict=True)]
    return 100.0 * sum(right) / len(right)


def probe(
    train_ND: NDArray[Any],
    train_N: Labels,
    test_ND: NDArray[Any],
    test_N: Labels,
    *,
    kind: str,
    settings: Sequence[Mapping[str, Any]],
    share: float,
    seed: int,
) -> dict[str, Any]:
    """Choose a setting on a part of train, fit it on all of train, and test it.

    Returns:
        ``held_out`` accuracies, the ``chosen`` one's number, ``top1`` and ``top5``.
    """
    train_ND, test_ND = train_ND.astype(np.float64), test_ND.astype(np.float64)
    held = hold_out(train_N, share, seed)
    used = [i for i in range(len(train_N)) if i not in held]

    def tested(
        setting: Mapping[str, Any], rows: list[int], asked_nD: Floats
    ) -> NDArray[np.int64]:
        kept_nD, norm = train_ND[rows], setting["norm"]
        statistics = norm_of(kept_nD, norm)
        model = fit(kind, normalised(kept_nD, norm, statistics), train_N[rows], setting)
        return ranks(model, normalised(asked_nD, norm, statistics))

    held_out = [
        accuracy(tested(setting, used, train_ND[held]), train_N[held], 1)
        for setting in settings
    ]
    chosen = held_out.index(max(held_out))
    found = tested(settings[chosen], list(range(len(train_N))), test_ND)
    return {
        "held_out": held_out,
        "chosen": chosen,
        "top1": accuracy(found, test_N, 1),
        "top5": accuracy(found, test_N, 5),
    }
