from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench.data import roots
from ssl_bench.errors import DataError


def find(data_root: Path | None) -> Path:
    def recognises(folder: Path) -> bool:
        return (folder / "here").exists()

    return roots.find("zoo", ("zoo", "old_zoo"), data_root, recognises, "a file here")


def lay(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "here").touch()
    return folder


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSL_BENCH_DATA", raising=False)
    monkeypatch.delenv("SSL_BENCH_CACHE", raising=False)


def test_given_root_is_the_folder_or_the_one_above(tmp_path: Path) -> None:
    zoo = lay(tmp_path / "a" / "zoo")
    old = lay(tmp_path / "b" / "old_zoo")
    itself = lay(tmp_path / "c")

    assert find(zoo) == zoo
    assert find(tmp_path / "a") == zoo
    assert find(tmp_path / "b") == old
    assert find(itself) == itself
    assert find(Path("~/a")) == zoo


def test_the_folder_itself_comes_before_one_inside(tmp_path: Path) -> None:
    outer = lay(tmp_path / "zoo")
    lay(outer / "zoo")

    assert find(outer) == outer


def test_variable_then_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "data" / "zoo")
    assert find(None) == Path("data/zoo")
    monkeypatch.setenv("SSL_BENCH_DATA", "~/disk")
    assert find(None) == Path("data/zoo")
    disk = lay(tmp_path / "disk" / "old_zoo")
    assert find(None) == disk


def test_the_places_themselves_are_not_taken_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path / "data")
    monkeypatch.setenv("SSL_BENCH_DATA", str(tmp_path / "data"))

    with pytest.raises(DataError, match="not under"):
        find(None)


def test_the_message_without_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError) as caught:
        find(None)
    assert str(caught.value) == (
        "data set zoo is not under data/zoo or data/old_zoo; pass --data-root DIR or "
        "set SSL_BENCH_DATA; expected layout: a file here"
    )
    monkeypatch.setenv("SSL_BENCH_DATA", "/disk")
    with pytest.raises(
        DataError, match="not under /disk/zoo or /disk/old_zoo or data/"
    ):
        find(None)


def test_the_message_with_a_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"not under {tmp_path} or {tmp_path}/zoo or "):
        find(tmp_path)
    with pytest.raises(DataError, match=r"--data-root .*/gone is not a folder; .*zoo"):
        find(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        find(tmp_path / "file")


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert roots.cache_dir() == tmp_path / ".cache" / "ssl_bench"
    monkeypatch.setenv("SSL_BENCH_CACHE", "~/fast")
    assert roots.cache_dir() == tmp_path / "fast"
    assert not (tmp_path / "fast").exists()
