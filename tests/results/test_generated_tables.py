from __future__ import annotations

import pytest

from ssl_bench.errors import BenchError
from ssl_bench.results.record import Reference
from ssl_bench.results.references import References
from ssl_bench.results.store import RecordStore
from ssl_bench.results.tables import render, stale, write_all

NPID = "npid_resnet50_8xb32-steplr-200e_in1k"
NONE = References([])


def published(metric: str, value: float) -> Reference:
    return Reference("NPID", NPID, "knn", "ImageNet-1k", metric, value, "zoo")


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path / "results")


def test_tables_are_written_and_go_stale(store, make_record):
    assert write_all(store, NONE) == []
    assert stale(store, NONE) == []
    store.add(make_record())
    table = store.root / "tables" / "knn.md"
    assert stale(store, NONE) == [table]
    assert write_all(store, NONE) == [table]
    assert table.read_text() == render(store.all(), "knn", "md", NONE)
    assert stale(store, NONE) == []
    store.add(make_record("another"))
    assert stale(store, NONE) == [table]
    write_all(store, NONE, ("md", "csv"))
    assert stale(store, NONE) == []
    table.with_suffix(".csv").write_text("edited")
    assert stale(store, NONE) == [table.with_suffix(".csv")]
    assert stale(store, References([published("top1_k20", 1.0)])) == [
        table.with_suffix(".csv")
    ]


def test_a_table_goes_stale_with_the_published_figures(store, make_record):
    store.add(make_record(NPID))
    write_all(store, NONE)
    changed = References([published("top1_k20", 1.0)])
    assert [path.name for path in stale(store, changed)] == ["knn.md"]


def test_a_table_whose_records_are_gone_is_stale(store, make_record):
    path = store.add(make_record())
    write_all(store, NONE)
    path.unlink()
    assert [p.name for p in stale(store, NONE)] == ["knn.md"]


def test_bundled_records_need_no_table(store, make_record):
    store.add(make_record(bundled=True))
    assert write_all(store, NONE) == []
    assert stale(store, NONE) == []


def test_a_folder_that_cannot_be_written_is_said(store, make_record):
    store.add(make_record())
    (store.root / "tables").write_text("in the way")
    with pytest.raises(BenchError, match=r"knn\.md"):
        write_all(store, NONE)
