"""k-NN by its definition: loops over queries and rows, float64, nothing clever."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def score(query: Sequence[float], row: Sequence[float], metric: str) -> float:
    """Return cosine similarity or squared distance of two vectors, as float32."""
    if metric == "euclidean":
        return float(
            np.float32(
                math.fsum((a - b) * (a - b) for a, b in zip(query, row, strict=True))
            )
        )
    dot = math.fsum(a * b for a, b in zip(query, row, strict=True))
    lengths = math.sqrt(math.fsum(a * a for a in query)) * math.sqrt(
        math.fsum(b * b for b in row)
    )
    return float(np.float32(dot / lengths)) if lengths > 0 else 0.0


def neighbours(
    queries: NDArray[np.float32],
    bank: NDArray[np.float32],
    k: int,
    metric: str,
    leave_one_out: bool = False,
) -> tuple[list[list[float]], list[list[int]]]:
    """Return scores and indices of the k nearest rows; in ties the smaller index."""
    rows = bank.astype(np.float64).tolist()
    all_scores, all_indices = [], []
    for number, query in enumerate(queries.astype(np.float64).tolist()):
        found = []
        for index, row in enumerate(rows):
            if leave_one_out and index == number:
                continue
            value = score(query, row, metric)
            found.append((value if metric == "euclidean" else -value, index, value))
        found.sort()
        all_scores.append([value for _, _, value in found[:k]])
        all_indices.append([index for _, index, _ in found[:k]])
    return all_scores, all_indices


def votes(
    scores: Sequence[float],
    indices: Sequence[int],
    targets: Sequence[int],
    *,
    vote: str,
    metric: str,
    temperature: float,
) -> dict[int, float]:
    """Return the votes of every class that has one, for one query."""
    exact = metric == "euclidean" and min(scores) == 0
    total: dict[int, float] = {}
    for value, index in zip(scores, indices, strict=True):
        if vote == "majority":
            weight = 1.0
        elif metric == "cosine":
            weight = math.exp(value / temperature)
        elif exact:
            weight = 1.0 if value == 0 else 0.0
        else:
            weight = 1 / math.sqrt(value)
        if weight > 0:
            total[targets[index]] = total.get(targets[index], 0.0) + weight
    return total


def ranking(total: dict[int, float], top: int) -> list[int]:
    """Return the classes with the most votes, in ties the smaller class; then -1."""
    order = sorted(total, key=lambda label: (-total[label], label))
    return (order + [-1] * top)[:top]
