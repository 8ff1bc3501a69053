"""Rows of a matrix: which, in which order, under which norm.

Axes: N images, D dimensions.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bench.errors import FeatureError
from ssl_bench.solvers.rows import NORMS, Norm, Rows, matrix

CPU = torch.device("cpu")
FEATS = np.array([[3.0, 4.0, 7.0], [0.0, 0.0, 7.0], [-3.0, 8.0, 7.0]])


def rows_of(feats: np.ndarray, *index: int) -> Rows:
    chosen = torch.tensor(index) if index else None
    return Rows(matrix(feats, CPU), chosen, device=CPU)


def whole(rows: Rows, together: int = 2) -> np.ndarray:
    """Return all rows, read a few at a time."""
    blocks = list(rows.blocks(together))
    assert [part.start for part, _ in blocks] == list(range(0, len(rows), together))
    assert blocks[-1][0].stop == len(rows)
    return torch.cat([block for _, block in blocks]).numpy()


def test_rows_by_hand() -> None:
    rows = rows_of(FEATS, 0, 2)
    assert len(rows) == 2
    assert rows.dims == 3
    assert whole(rows, 1).tolist() == [[3.0, 4.0, 7.0], [-3.0, 8.0, 7.0]]
    taken = rows.take(rows.places(np.array([1, 0, 1])))
    assert taken.tolist() == [FEATS[2].tolist(), FEATS[0].tolist(), FEATS[2].tolist()]
    assert rows.mean().tolist() == [0.0, 6.0, 7.0]
    assert len(rows_of(FEATS)) == 3
    assert whole(rows_of(FEATS)).tolist() == FEATS.tolist()


def test_norms_by_hand() -> None:
    """Lengths 5 and 0; means 0, 4, 7 with spreads sqrt 6, sqrt(32 / 3) and none."""
    flat = FEATS[:, :2]
    unit = whole(rows_of(flat).normalised("l2"))
    assert unit[0].tolist() == pytest.approx([0.6, 0.8])
    assert unit[1].tolist() == [0.0, 0.0]
    standard = whole(rows_of(FEATS).normalised("standard"))
    assert standard[:, 0] == pytest.approx(np.array([3, 0, -3]) / np.sqrt(6))
    assert standard[:, 1] == pytest.approx(np.array([0, -4, 4]) / np.sqrt(32 / 3))
    assert standard[:, 2].tolist() == [0.0, 0.0, 0.0]
    assert whole(rows_of(FEATS).normalised("none")).tolist() == FEATS.tolist()


def test_a_norm_takes_its_statistics_from_its_own_rows_and_keeps_them() -> None:
    """Of rows 0 and 1 the means are 1.5 and 2, the spreads 1.5 and 2."""
    part = rows_of(FEATS, 0, 1).normalised("standard")
    assert whole(part)[:, :2] == pytest.approx(np.array([[1.0, 1.0], [-1.0, -1.0]]))
    others = rows_of(FEATS, 2).with_norm(part.norm)
    assert whole(others)[0] == pytest.approx([-3.0, 3.0, 0.0])


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_reading_in_any_way_gives_the_same(kind: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    feats = (rng.normal(size=(9, 4)) + 5).astype(dtype)
    rows = rows_of(feats, 1, 2, 4, 7, 8).normalised(kind)
    expected = whole(rows, 5)
    assert expected.dtype == dtype
    order = np.array([4, 0, 2])
    assert rows.take(rows.places(order)).numpy().tolist() == expected[order].tolist()
    gathered = rows.gathered(memory=1 << 20)
    assert whole(gathered, 2).tolist() == expected.tolist()
    assert gathered.take(gathered.places(order)).tolist() == expected[order].tolist()
    assert rows.gathered(memory=5 * 4 * feats.itemsize - 1) is rows
    assert rows.gathered(memory=5 * 4 * feats.itemsize) is not rows


def test_what_needs_no_gathering_stays() -> None:
    rows = rows_of(FEATS)
    assert rows.gathered(memory=1 << 30) is rows


def test_a_large_mean_hides_no_spread_and_makes_none() -> None:
    rng = np.random.default_rng(1)
    feats = np.full((500, 2), 1000.1, np.float32)
    feats[:, 0] += rng.normal(size=500).astype(np.float32)
    standard = whole(rows_of(feats).normalised("standard"), 64)
    assert standard[:, 0].std() == pytest.approx(1, abs=1e-3)
    assert np.abs(standard[:, 1]).max() == 0


def test_a_mapped_file_is_read_without_a_word(tmp_path: Path) -> None:
    np.save(tmp_path / "feats.npy", FEATS)
    mapped = np.load(tmp_path / "feats.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feats = matrix(mapped, CPU)
        assert whole(Rows(feats, device=CPU)).tolist() == FEATS.tolist()
    # Nothing was copied: the tensor lies where the map does.
    assert feats.data_ptr() == mapped.ctypes.data


def test_an_unknown_norm_is_named() -> None:
    with pytest.raises(FeatureError, match=r"unknown norm 'l3'.*'l2'"):
        rows_of(FEATS).normalised("l3")


def test_norm_without_statistics_changes_nothing() -> None:
    rows = torch.from_numpy(FEATS)
    assert Norm("none")(rows) is rows
