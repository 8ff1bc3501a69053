"""Finished cells: whole or absent, and only of what they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ssl_bench.cells
from ssl_bench.cells import Cells
from ssl_bench.errors import BenchError

IDENTITY = {"protocol": "svm", "train": "abc", "settings": {"costs": [0.1, 1.0]}}
CELL = {"ap": 12.345678901234567, "costs": [1e-7, 0.1], "unsolved": [], "gap": None}


def cells(root: Path, fresh: bool = False, **changes: Any) -> Cells:
    return Cells(root, {**IDENTITY, **changes}, fresh=fresh)


def test_a_cell_comes_back_as_it_went(tmp_path: Path) -> None:
    cells(tmp_path).put("class-3", CELL)
    assert cells(tmp_path).get("class-3") == CELL
    assert cells(tmp_path).get("class-4") is None


def test_a_cell_is_replaced(tmp_path: Path) -> None:
    kept = cells(tmp_path)
    kept.put("class-3", CELL)
    kept.put("class-3", {"ap": 1.0})
    assert kept.get("class-3") == {"ap": 1.0}
    assert [path.name for path in kept.folder.iterdir()] == ["class-3.json"]


@pytest.mark.parametrize(
    "damaged",
    [b"", b'{"ap": 12.34', b"\xff\xfe\x00", b"[1, 2]", b"null", b"{}}", b"\0" * 40],
)
def test_a_damaged_cell_counts_as_not_there(tmp_path: Path, damaged: bytes) -> None:
    kept = cells(tmp_path)
    kept.put("class-3", CELL)
    (kept.folder / "class-3.json").write_bytes(damaged)
    assert kept.get("class-3") is None
    kept.put("class-3", CELL)
    assert kept.get("class-3") == CELL


def test_a_cell_that_is_cut_anywhere_is_not_there(tmp_path: Path) -> None:
    kept = cells(tmp_path)
    kept.put("class-3", CELL)
    path = kept.folder / "class-3.json"
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        assert kept.get("class-3") is None, length


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cells(tmp_path)
    kept.put("class-3", CELL)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stop)
    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        kept.put("class-3", {"ap": 0.0})
    with pytest.raises(KeyboardInterrupt):
        kept.put("class-4", {"ap": 0.0})
    monkeypatch.undo()
    assert kept.get("class-3") == CELL
    assert kept.get("class-4") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_say_is_refused(tmp_path: Path, value: object) -> None:
    kept = cells(tmp_path)
    with pytest.raises(BenchError):
        kept.put("class-3", {"ap": value})
    assert kept.get("class-3") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"train": "abd"},
        {"protocol": "lowshot"},
        {"settings": {"costs": [1.0, 0.1]}},
        {"more": None},
    ],
)
def test_anything_else_is_another_folder(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    cells(tmp_path).put("class-3", CELL)
    assert cells(tmp_path, **changes).get("class-3") is None
    assert cells(tmp_path).get("class-3") == CELL


def test_another_release_of_the_code_is_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells(tmp_path).put("class-3", CELL)
    monkeypatch.setattr(ssl_bench.cells, "__version__", "99")
    assert cells(tmp_path).get("class-3") is None


def test_the_order_of_names_is_none_of_its_business(tmp_path: Path) -> None:
    cells(tmp_path).put("class-3", CELL)
    turned = dict(reversed(IDENTITY.items()))
    assert Cells(tmp_path, turned, fresh=False).get("class-3") == CELL


def test_fresh_drops_what_was_finished_and_nothing_else(tmp_path: Path) -> None:
    cells(tmp_path).put("class-3", CELL)
    cells(tmp_path, train="other").put("class-3", CELL)
    assert cells(tmp_path, fresh=True).get("class-3") is None
    assert cells(tmp_path).get("class-3") is None
    assert cells(tmp_path, train="other").get("class-3") == CELL
    cells(tmp_path / "nowhere", fresh=True)
