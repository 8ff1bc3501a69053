"""Ridge regression against scikit-learn, against hand arithmetic, by properties.

Axes: N images, M images that are asked, C classes, D dimensions.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from ssl_bench.solvers.ridge import class_sums, count_hits, solve, spectrum
from ssl_bench.solvers.rows import Rows, matrix

CPU = torch.device("cpu")
LAMBDAS = [10.0**power for power in range(-3, 5)]
SHAPES = [(90, 12), (30, 80), (20, 20), (21, 20), (5, 3)]


def scene(
    seed: int, images: int, dims: int, classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Draw classes of unequal size and features with a mean."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, classes, images))
    labels[:classes] = np.arange(classes)
    centres = rng.normal(size=(classes, dims))
    return centres[labels] + rng.normal(size=(images, dims)) + 3, labels


def rows_of(feats: np.ndarray) -> Rows:
    return Rows(matrix(feats, CPU), device=CPU)


def by_sklearn(feats: np.ndarray, labels: np.ndarray, penalty: float) -> Ridge:
    classes = labels.max() + 1
    return Ridge(alpha=penalty, solver="svd").fit(feats, np.eye(classes)[labels])


def test_one_dimension_by_hand() -> None:
    """x = -1 of class 0, x = 1 of class 1: X'X = 2, X'Y = (-1, 1), w = X'Y / (2 + l).

    Half of the images are of each class, and the mean is 0, so that b = 1/2.
    """
    rows, labels = rows_of(np.array([[-1.0], [1.0]])), torch.tensor([0, 1])
    found = spectrum(rows)
    assert found.values_R.tolist() == pytest.approx([2.0])
    assert found.mean_value() == pytest.approx(2.0)
    for penalty in (0.5, 6.0):
        weights, bias = solve(rows, labels, 2, found, penalty)
        expected = 1 / (2 + penalty)
        assert weights.flatten().tolist() == pytest.approx([-expected, expected])
        assert bias.tolist() == pytest.approx([0.5, 0.5])


def test_sums_of_classes_by_hand() -> None:
    """Less the mean (3), the rows are -2, -1, 3: class 0 has -3, class 1 has 3.

    There is one direction, of either sign.
    """
    rows, labels = rows_of(np.array([[1.0], [2.0], [6.0]])), torch.tensor([0, 0, 1])
    sums, count = class_sums(rows, labels, 2, spectrum(rows))
    assert (sums / sums[1]).flatten().tolist() == pytest.approx([-1.0, 1.0])
    assert sums.abs().flatten().tolist() == pytest.approx([3.0, 3.0])
    assert count.tolist() == [2, 1]


@pytest.mark.parametrize(("images", "dims"), SHAPES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_lambda_is_scikit_learns(images: int, dims: int, dtype: str) -> None:
    feats, labels = scene(images, images, dims)
    rows = rows_of(feats.astype(dtype))
    found, close = spectrum(rows), 1e-9 if dtype == "f8" else 1e-4
    for penalty in LAMBDAS:
        weights, bias = solve(rows, torch.from_numpy(labels), 3, found, penalty)
        model = by_sklearn(feats.astype(dtype).astype("f8"), labels, penalty)
        assert weights.numpy() == pytest.approx(model.coef_, abs=close, rel=close)
        assert bias.numpy() == pytest.approx(model.intercept_, abs=10 * close)


@pytest.mark.parametrize(("images", "dims"), SHAPES)
def test_hits_are_scikit_learns(images: int, dims: int) -> None:
    feats, labels = scene(1, images, dims)
    asked, theirs = scene(2, 60, dims)
    found = count_hits(
        rows_of(feats),
        torch.from_numpy(labels),
        3,
        spectrum(rows_of(feats)),
        rows_of(asked),
        torch.from_numpy(theirs),
        LAMBDAS,
    )
    expected = [
        (by_sklearn(feats, labels, penalty).predict(asked).argmax(1) == theirs).sum()
        for penalty in LAMBDAS
    ]
    assert found.tolist() == expected


def test_hits_do_not_depend_on_what_goes_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feats, labels = scene(3, 50, 7)
    asked, theirs = scene(4, 40, 7)

    def hits() -> list[int]:
        return count_hits(
            rows_of(feats),
            torch.from_numpy(labels),
            3,
            spectrum(rows_of(feats)),
            rows_of(asked),
            torch.from_numpy(theirs),
            LAMBDAS,
        ).tolist()

    together = hits()
    monkeypatch.setattr("ssl_bench.solvers.ridge._COLUMNS", 1)
    assert hits() == together


@pytest.mark.parametrize(("images", "dims"), SHAPES)
def test_the_spectrum_is_that_of_the_centred_features(images: int, dims: int) -> None:
    feats, _ = scene(5, images, dims)
    found = spectrum(rows_of(feats))
    centred = feats - feats.mean(axis=0)
    scatter = centred.T @ centred
    expected = np.linalg.eigvalsh(scatter)
    count = len(found.values_R)
    assert found.values_R.numpy() == pytest.approx(expected[-count:], abs=1e-9)
    assert expected[:-count] == pytest.approx(0, abs=1e-9)
    assert count <= min(images, dims)
    vectors = found.vectors_DR.numpy()
    assert vectors.T @ vectors == pytest.approx(np.eye(count), abs=1e-8)
    assert scatter @ vectors == pytest.approx(vectors * expected[-count:], abs=1e-8)
    assert found.mean_value() == pytest.approx(np.trace(scatter) / dims)


def test_bands_of_the_scatter_make_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    feats, _ = scene(6, 60, 11)
    monkeypatch.setattr("ssl_bench.solvers.ridge._BAND", 4)
    found = spectrum(rows_of(feats))
    assert found.values_R.numpy() == pytest.approx(
        np.linalg.eigvalsh(np.cov(feats.T, bias=True) * 60), abs=1e-9
    )


def test_a_dimension_that_is_there_twice() -> None:
    """One eigenvalue is 0; both copies get the same weight, as in scikit-learn."""
    feats, labels = scene(7, 40, 5)
    feats = np.column_stack([feats, feats[:, 0]])
    rows = rows_of(feats)
    weights, _ = solve(rows, torch.from_numpy(labels), 3, spectrum(rows), 0.1)
    assert weights[:, 0].tolist() == pytest.approx(weights[:, 5].tolist())
    expected = by_sklearn(feats, labels, 0.1).coef_
    assert weights.numpy() == pytest.approx(expected, abs=1e-9)


def test_float32_is_good_where_the_mean_is_large() -> None:
    """Values of some 100 with a spread of 1, and the smallest lambda."""
    feats, labels = scene(8, 300, 10)
    feats = (feats + 100).astype(np.float32)
    rows = rows_of(feats)
    weights, bias = solve(rows, torch.from_numpy(labels), 3, spectrum(rows), 1e-3)
    model = by_sklearn(feats.astype(np.float64), labels, 1e-3)
    assert weights.numpy() == pytest.approx(model.coef_, abs=1e-5)
    assert bias.numpy() == pytest.approx(model.intercept_, abs=2e-3)


def test_rows_that_are_all_the_same_say_nothing() -> None:
    rows = rows_of(np.full((4, 6), 2.5))
    found = spectrum(rows)
    assert found.mean_value() == pytest.approx(0, abs=1e-20)
    weights, bias = solve(rows, torch.tensor([0, 1, 1, 1]), 2, found, 1.0)
    assert weights.abs().max() < 1e-12
    assert bias.tolist() == pytest.approx([0.25, 0.75])
