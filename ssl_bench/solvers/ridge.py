r"""Ridge regression on one-hot targets: every lambda from one eigendecomposition.

Axes: n images to fit, M images to ask, D dimensions, C classes, R eigenvectors, L
lambdas.

With X the features less their mean, Y the one-hot targets and an intercept that is not
regularised, the problem is scikit-learn's ``Ridge``::

    min over W, b:  |X W' + b - Y|^2 + lambda |W|^2

Let X'X = V diag(s) V'. Then W' = V (s + lambda)^-1 V'X'Y, and the intercept makes the
scores of a mean image the shares of the classes. X'Y is the sum of the rows of each
class, so that no matrix Y is made. Of images that are asked only X V is needed, once
for all lambdas.

V has D rows and one column for every eigenvalue that is not 0. With as many images as
dimensions, or more, it comes from X'X; of many images its products are summed in
float32 over a few of them and then in float64, good to about 1e-8 of the largest
eigenvalue. With fewer images it comes from XX' = U diag(s) U', as V = X'U s^-1/2, and
what lies outside has no weight at any lambda. All but the products with all images is
float64.

Source: Hoerl and Kennard 1970, Technometrics 12(1), 55-67; Rifkin and Lippert 2007,
    MIT-CSAIL-TR-2007-025, sections 3 and 5 (one decomposition for all lambdas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_bench.solvers.rows import Rows

_NOTHING = 1e-11
"""Eigenvalues of XX' below this share of the largest are rounding."""

_EXACT = 1 << 24
"""Numbers in X up to which float64 costs nothing that is felt."""

_BAND = 512
"""Columns of X'X whose part above the diagonal is not computed twice."""

_COLUMNS = 1024
"""Scores of an image, of a few lambdas, that one product computes."""


@dataclass(frozen=True)
class Spectrum:
    """Hold the eigenpairs of X'X.

    Attributes:
        mean_D: the mean row.
        vectors_DR: eigenvectors.
        values_R: eigenvalues, ascending, none below 0. All are float64.
    """

    mean_D: Tensor
    vectors_DR: Tensor
    values_R: Tensor

    def mean_value(self) -> float:
        """Return the mean of all D eigenvalues, a scale for lambda."""
        return float(self.values_R.sum() / len(self.mean_D))


def spectrum(rows: Rows) -> Spectrum:
    """Return the eigenpairs of X'X, from the smaller of X'X and XX'."""
    mean_D = rows.mean()
    if len(rows) < rows.dims:
        centred = [block - mean_D for _, block in rows.blocks()]
        feats_nD = torch.cat(centred)
        values_n, vectors_nn = torch.linalg.eigh(feats_nD @ feats_nD.T)
        # The mean was taken away: one eigenvalue, at least, is 0.
        kept = values_n > _NOTHING * values_n[-1]
        values_R = values_n[kept]
        vectors_DR = feats_nD.T @ (vectors_nn[:, kept] / values_R.sqrt())
    else:
        values_R, vectors_DR = torch.linalg.eigh(_scatter(rows, mean_D))
        values_R = values_R.clamp_min(0)
    return Spectrum(mean_D, vectors_DR, values_R)


def _scatter(rows: Rows, mean_D: Tensor) -> Tensor:
    """Return X'X in float64; of each pair of bands one product is computed."""
    dims, shift_D = rows.dims, _shift(rows, mean_D)
    total = torch.zeros(dims, dims, dtype=torch.float64, device=rows.device)
    for _, rows_bD in rows.blocks():
        centred_bD = rows_bD - shift_D
        for start in range(0, dims, _BAND):
            band = slice(start, start + _BAND)
            total[band, start:] += centred_bD[:, band].T @ centred_bD[:, start:]
    for start in range(0, dims, _BAND):
        band, after = slice(start, start + _BAND), start + _BAND
        total[after:, band] = total[band, after:].T
    return total


def _shift(rows: Rows, mean_D: Tensor) -> Tensor:
    """Return what is taken away from rows; in float64 it makes their products so."""
    exact = len(rows) * rows.dims <= _EXACT
    return mean_D if exact else mean_D.to(rows.dtype)


def class_sums(
    rows: Rows, labels_n: Tensor, classes: int, found: Spectrum
) -> tuple[Tensor, Tensor]:
    """Return V'X'Y and how many images each class has.

    Args:
        rows: what is fitted; those that the spectrum is of.
        labels_n: class of every row, int64, from 0.
        classes: how many there are.
        found: their spectrum.

    Returns:
        (C, R) and (C,), float64.
    """
    sums_CD = torch.zeros(classes, rows.dims, dtype=torch.float64, device=rows.device)
    count_C = torch.bincount(labels_n, minlength=classes).double()
    shift_D = _shift(rows, found.mean_D)
    for part, rows_bD in rows.blocks():
        few_CD = torch.zeros_like(sums_CD, dtype=shift_D.dtype)
        sums_CD += few_CD.index_add_(0, labels_n[part], rows_bD - shift_D)
    # With targets that are centred, too, what the mean has lost by rounding drops out.
    sums_CD -= (count_C / len(rows))[:, None] * sums_CD.sum(0)
    return sums_CD @ found.vectors_DR, count_C


def count_hits(
    rows: Rows,
    labels_n: Tensor,
    classes: int,
    found: Spectrum,
    asked: Rows,
    labels_M: Tensor,
    lambdas: Sequence[float],
) -> NDArray[np.int64]:
    """Count for every lambda the asked rows whose class has the highest score.

    Args:
        rows: what is fitted.
        labels_n: class of every row, int64, from 0.
        classes: how many there are.
        found: the spectrum of these rows.
        asked: rows that are not fitted.
        labels_M: their classes.
        lambdas: above 0.

    Returns:
        (L,) counts.
    """
    sums_CR, count_C = class_sums(rows, labels_n, classes, found)
    sums_CR = sums_CR.to(rows.dtype)
    shares_C1 = (count_C / len(rows)).to(rows.dtype)[:, None]
    penalty_L1 = torch.tensor(lambdas, dtype=torch.float64, device=rows.device)[:, None]
    scale_LR = (1 / (found.values_R + penalty_L1)).to(rows.dtype)
    shift_D = found.mean_D.to(rows.dtype)
    vectors_DR = found.vectors_DR.to(rows.dtype)
    hits_L = torch.zeros(len(lambdas), dtype=torch.int64, device=rows.device)
    together = max(1, _COLUMNS // classes)
    for part, rows_bD in asked.blocks():
        turned_bR = (rows_bD - shift_D) @ vectors_DR
        for start in range(0, len(lambdas), together):
            some = slice(start, start + together)
            models = (scale_LR[some, None, :] * sums_CR).flatten(0, 1)
            scores = (models @ turned_bR.T).view(-1, classes, len(rows_bD))
            hits_L[some] += ((scores + shares_C1).argmax(1) == labels_M[part]).sum(1)
    return hits_L.cpu().numpy()


def solve(
    rows: Rows, labels_n: Tensor, classes: int, found: Spectrum, penalty: float
) -> tuple[Tensor, Tensor]:
    """Return weights (C, D) and intercepts (C,) at one lambda.

    Args:
        rows: what is fitted.
        labels_n: class of every row, int64, from 0.
        classes: how many there are.
        found: the spectrum of these rows.
        penalty: lambda, above 0.
    """
    sums_CR, count_C = class_sums(rows, labels_n, classes, found)
    weights_CD = (sums_CR / (found.values_R + penalty)) @ found.vectors_DR.T
    bias_C = count_C / len(rows) - weights_CD @ found.mean_D
    return weights_CD.to(rows.dtype), bias_C.to(rows.dtype)
