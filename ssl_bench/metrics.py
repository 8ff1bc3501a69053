"""Numbers of merit, in percent, from predictions and targets; numpy only.

Axes: Q images, K ranks. For average precision: N images, P columns of scores, H images
that are positive.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError, unknown

_FEW_TIES = 30

CONFIDENCE = 0.95
"""Of the intervals that stand beside values in reports."""

AP_RULES = ("envelope", "11point", "step")
"""How average precision is read off a precision-recall curve."""


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


def average_precision(
    scores_N: NDArray[np.floating[Any]], positive_N: NDArray[np.bool_], rule: str
) -> float:
    """Compute the average precision of one class.

    Args:
        scores_N: (N,) scores, the surest image the highest.
        positive_N: (N,) whether an image shows the class.
        rule: one of `AP_RULES`, as in `average_precisions`.

    Returns:
        Percent, above 0 and up to 100.

    Raises:
        FeatureError: as for `average_precisions`.
    """
    if scores_N.ndim != 1:
        raise FeatureError(
            f"scores of shape {scores_N.shape}; one score an image is needed"
        )
    return float(average_precisions(scores_N[:, None], positive_N, rule)[0])


def average_precisions(
    scores_NP: NDArray[np.floating[Any]], positive_N: NDArray[np.bool_], rule: str
) -> NDArray[np.float64]:
    """Compute the average precision of one class for many columns of scores.

    Images are sorted by score, the highest first. After each image, precision is the
    share of positives among the images so far, and recall the share of all positives
    that are among them. The rules differ in what they make of that curve:

    - ``envelope``: precision becomes the largest precision at this or a higher recall;
      the result is the exact area below. Equal scores stand in the order of the images.
    - ``11point``: the mean over recalls 0, 0.1 ... 1 of the same largest precision.
      Equal scores stand in the order of the images. Recalls are compared as whole
      numbers, so that 3 of 10 positives do reach recall 0.3.
    - ``step``: the sum of precision times the step in recall, no envelope. Images of
      equal score are taken in together, so that their order does not matter.

    Source: Everingham et al. 2010, Int. J. Comput. Vis. 88, 303-338, section 4.2, and
        the VOC2007 (``11point``) and VOC2010 (``envelope``) development kits'
        VOCevalcls.m; scikit-learn's ``average_precision_score`` (``step``).

    Args:
        scores_NP: (N, P) scores, the surest image the highest; infinity is a score.
        positive_N: (N,) whether an image shows the class.
        rule: one of `AP_RULES`.

    Returns:
        (P,) percent, above 0 and up to 100; each as for its column alone.

    Raises:
        FeatureError: there is no image or no positive, a score is NaN, shapes do not
            fit, or nobody knows the rule.
    """
    _check_scores(scores_NP, positive_N, rule)
    if not np.issubdtype(scores_NP.dtype, np.floating):
        scores_NP = scores_NP.astype(np.float64)  # what is unsigned has no negative
    positives_H = np.flatnonzero(positive_N)
    found_H = np.arange(1, len(positives_H) + 1)
    if rule == "step":
        precision_PH = _tied_precisions(-scores_NP.T, positive_N)
    else:
        places_PH = np.stack([_places(-row_N, positives_H) for row_N in scores_NP.T])
        # Precision falls from one positive to the next: the largest is at a positive.
        precision_PH = found_H / (places_PH + 1)
        precision_PH = np.maximum.accumulate(precision_PH[:, ::-1], axis=1)[:, ::-1]
    if rule == "11point":
        tenths_J = np.arange(11)
        first_J = np.searchsorted(found_H * 10, tenths_J * len(found_H))
        precision_PH = precision_PH[:, first_J]
    # Every row lies in one piece: sums do not depend on the number of rows.
    means_P: NDArray[np.float64] = np.ascontiguousarray(precision_PH).mean(axis=1)
    return means_P * 100.0


def masked_precisions(
    scores_NP: NDArray[np.floating[Any]],
    targets_NP: NDArray[np.integer[Any]],
    rule: str,
) -> NDArray[np.float64]:
    """Compute average precision where every column has images of its own.

    Args:
        scores_NP: (N, P) scores, as for `average_precisions`.
        targets_NP: (N, P): 1 for a positive image, 0 for a negative one, -1 for one
            that does not count.
        rule: ``envelope`` or ``11point``.

    Returns:
        (P,) percent; NaN for a column that lacks positive or negative images.

    Raises:
        FeatureError: a score is NaN, shapes do not fit, or nobody knows the rule.
    """
    if rule not in AP_RULES[:2]:
        raise FeatureError(unknown("rule of average precision", rule, AP_RULES[:2]))
    if scores_NP.ndim != 2 or scores_NP.shape != targets_NP.shape:
        raise FeatureError(
            f"scores of shape {scores_NP.shape} for targets of shape "
            f"{targets_NP.shape}; they must be the same"
        )
    if np.isnan(scores_NP).any():
        raise FeatureError("a score is NaN; the model that gave it is broken")
    both_P = (targets_NP == 1).any(axis=0) & (targets_NP == 0).any(axis=0)
    found_P = np.full(scores_NP.shape[1], np.nan)
    for column in np.flatnonzero(both_P).tolist():
        targets_N = targets_NP[:, column]
        # What does not count stands behind all else, where it changes no precision.
        sinking_N = np.where(targets_N == -1, np.inf, -scores_NP[:, column])
        places_H = _places(sinking_N, np.flatnonzero(targets_N == 1))
        ranks_H = np.arange(1, len(places_H) + 1)
        best_H = np.maximum.accumulate((ranks_H / (places_H + 1))[::-1])[::-1]
        if rule == "11point":
            best_H = best_H[np.searchsorted(ranks_H * 10, np.arange(11) * len(ranks_H))]
        found_P[column] = 100.0 * best_H.mean()
    return found_P


def _places(
    sinking_N: NDArray[np.floating[Any]], positives_H: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return at which places positives stand, the best first.

    Sorting values is several times faster than finding what sorts them; only places of
    equal values ask which image comes first.

    Args:
        sinking_N: the scores, negated.
        positives_H: which images are positive, rising.
    """
    ordered_N = np.sort(sinking_N)
    values_H = sinking_N[positives_H]
    places_H = np.searchsorted(ordered_N, values_H)
    after_H = np.minimum(places_H + 1, len(ordered_N) - 1)
    tied = np.flatnonzero((after_H > places_H) & (ordered_N[after_H] == values_H))
    if len(tied) > _FEW_TIES:
        order_N = np.argsort(sinking_N, kind="stable")
        return np.flatnonzero(np.isin(order_N, positives_H, kind="table"))
    for one in tied.tolist():
        earlier_n = sinking_N[: positives_H[one]]
        places_H[one] += np.count_nonzero(earlier_n == values_H[one])
    return np.sort(places_H)


def _tied_precisions(
    sinking_PN: NDArray[np.floating[Any]], positive_N: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return precision at every positive where equal scores are taken in together."""
    order_PN = np.argsort(sinking_PN, axis=1)
    # Each row has as many positives, so that their places fill a matrix.
    places_PH = np.nonzero(positive_N[order_PN])[1].reshape(len(sinking_PN), -1)
    sorted_PN = np.take_along_axis(sinking_PN, order_PN, axis=1)
    last_PH = np.take_along_axis(_last_equal(sorted_PN), places_PH, axis=1)
    found_PN = np.cumsum(positive_N[order_PN], axis=1)
    precision_PH: NDArray[np.float64] = np.take_along_axis(
        found_PN, last_PH, axis=1
    ) / (last_PH + 1)
    return precision_PH


def _last_equal(sorted_PN: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Return for every place of a sorted row the last place of the same value."""
    count = sorted_PN.shape[1]
    last_PN = np.broadcast_to(np.arange(count), sorted_PN.shape).copy()
    last_PN[:, :-1][sorted_PN[:, :-1] == sorted_PN[:, 1:]] = count
    return np.minimum.accumulate(last_PN[:, ::-1], axis=1)[:, ::-1]


def _check_scores(
    scores_NP: NDArray[np.floating[Any]], positive_N: NDArray[np.bool_], rule: str
) -> None:
    if rule not in AP_RULES:
        raise FeatureError(unknown("rule of average precision", rule, AP_RULES))
    if scores_NP.ndim != 2 or positive_N.shape != scores_NP.shape[:1]:
        raise FeatureError(
            f"scores of shape {scores_NP.shape} for positives of shape "
            f"{positive_N.shape}; one row of scores an image is needed"
        )
    if positive_N.dtype != np.bool_:
        raise FeatureError(
            f"positives of type {positive_N.dtype}, where -1 would count as true; "
            "give booleans, as in targets == 1"
        )
    if len(positive_N) == 0:
        raise FeatureError("no image to measure; give at least one")
    if not positive_N.any():
        raise FeatureError(
            f"none of {len(positive_N)} images is positive and average precision has "
            "no value; leave the class out, or give images that show it"
        )
    nans = np.argwhere(np.isnan(scores_NP))
    if len(nans):
        image, column = nans[0]
        raise FeatureError(
            f"{len(nans)} scores are NaN, the first of image {image} in column "
            f"{column}; look for NaN or infinity in the features"
        )
