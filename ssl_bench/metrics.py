"""Numbers of merit, in percent, from predictions and targets; numpy only.

Axes: Q images, K ranks.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError

CONFIDENCE = 0.95
"""Of the intervals that stand beside values in reports."""


def topk_accuracy(
    ranks_QK: NDArray[np.integer[Any]], targets_Q: NDArray[np.integer[Any]], top: int
) -> float:
    """Compute the share of images whose class is among the first ``top`` ranks.

    Args:
        ranks_QK: (Q, K) classes, the best first; -1 where there is none.
        targets_Q: (Q,) true classes, 0 or more.
        top: ranks that count, at most K.

    Returns:
        Percent, 0 to 100.

    Raises:
        FeatureError: there is no image, shapes do not fit, or ``top`` is larger than K.
    """
    if ranks_QK.ndim != 2 or targets_Q.shape != ranks_QK.shape[:1]:
        raise FeatureError(
            f"predictions of shape {ranks_QK.shape} for targets of shape "
            f"{targets_Q.shape}; one row of ranks a target is needed"
        )
    if len(targets_Q) == 0:
        raise FeatureError("no image to measure; give at least one")
    if not 1 <= top <= ranks_QK.shape[1]:
        raise FeatureError(
            f"top-{top} accuracy of predictions with {ranks_QK.shape[1]} ranks; rank "
            "at least as many classes"
        )
    hits = (ranks_QK[:, :top] == targets_Q[:, None]).any(axis=1)
    return 100.0 * int(np.count_nonzero(hits)) / len(hits)


def wilson_interval(hits: float, count: int, confidence: float) -> tuple[float, float]:
    """Compute an interval for the rate behind ``hits`` of ``count`` images.

    With p = hits / count and z the (1 + confidence) / 2 quantile of the normal
    distribution, the ends are::

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Unlike p -+ z sqrt(p (1 - p) / n) it stays within 0 and 100 and has a width at 0 and
    at 100 percent. It speaks of drawing the images, not of training again.

    Source: Wilson 1927, J. Amer. Statist. Assoc. 22(158), 209-212,
        doi:10.1080/01621459.1927.10502953.

    Args:
        hits: images that were right, 0 <= hits <= count; a fraction where the rate is
            a mean of several runs.
        count: images, at least 1.
        confidence: 0 < confidence < 1, as 0.95.

    Returns:
        Lower and upper end in percent.

    Raises:
        FeatureError: the numbers do not fit together.
    """
    if count < 1 or not 0 <= hits <= count or not 0 < confidence < 1:
        raise FeatureError(
            f"{hits} hits of {count} at confidence {confidence}; hits must lie "
            "between 0 and a count of at least 1, the confidence between 0 and 1"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = hits / count
    middle = rate + z * z / (2 * count)
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    width = 1 + z * z / count
    # At the ends the two terms are equal but for rounding.
    low = 0.0 if hits == 0 else (middle - half) / width
    high = 1.0 if hits == count else (middle + half) / width
    return 100.0 * low, 100.0 * high


def metric_interval(value: float, count: int) -> tuple[float, float]:
    """Compute the 95 % interval that is shown beside an accuracy.

    Args:
        value: accuracy in percent.
        count: images behind it.

    Returns:
        Lower and upper end in percent, by ``wilson_interval``.

    Raises:
        FeatureError: the value is no percentage, or no image stands behind it.
    """
    # Rounding keeps 100 % at the count itself, which the quotient may just miss.
    return wilson_interval(round(value * count / 100, 9), count, CONFIDENCE)
