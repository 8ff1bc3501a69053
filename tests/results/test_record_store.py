from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from ssl_bench.errors import RecordError
from ssl_bench.results.record import Metric, Record
from ssl_bench.results.store import RecordStore, differing, read_record


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path / "results")


def visible(store: RecordStore) -> list[Path]:
    """Every file below the store, temporary ones too."""
    return sorted(path for path in store.root.rglob("*") if path.is_file())


def test_a_record_lies_under_its_model_evaluation_and_key(store, make_record):
    record = make_record("MoCo v2")
    path = store.add(record)
    assert path.parent.name == "knn_imagenet"
    assert path.parent.parent.name.startswith("MoCo-v2-")
    assert path.parent.parent.parent == store.root / "records"
    assert path.name == f"{record.key}.json"
    assert visible(store) == [path]
    assert read_record(path) == record
    assert json.loads(path.read_text())["name"] == "MoCo v2"


def test_hostile_names_stay_below_the_store(store, make_record):
    for name in ("../../up", "/etc/passwd", "a\x00b", "."):
        path = store.add(make_record(name))
        assert path.resolve().is_relative_to(store.folder.resolve())
        assert len(path.relative_to(store.folder).parts) == 3


def test_find_by_key_name_and_evaluation(store, make_record):
    record, other = make_record("a"), make_record("b", identity={"seed": 1})
    store.add(record)
    assert store.find(record.key, name="a", evaluation="knn_imagenet") == record
    assert store.find(record.key) == record
    assert store.find(record.key, name="b", evaluation="knn_imagenet") is None
    assert store.find(record.key, name="a", evaluation="svm_voc07") is None
    assert store.find(other.key, name="a", evaluation="knn_imagenet") is None


def test_find_in_an_empty_store(store, make_record):
    assert store.find(make_record().key) is None
    assert list(store.all()) == []


@pytest.mark.parametrize("key", ["", "../x", "A" * 32, "*", "a" * 31])
def test_find_takes_nothing_but_a_key(store, key):
    with pytest.raises(RecordError, match="no record key"):
        store.find(key)


def test_find_takes_no_path_for_an_evaluation(store, make_record):
    with pytest.raises(RecordError, match="no plain name"):
        store.find(make_record().key, evaluation="../..")


def test_the_same_record_again_changes_nothing(store, make_record):
    path = store.add(make_record(seconds=1))
    content, inode = path.read_bytes(), path.stat().st_ino
    assert store.add(make_record(seconds=2)) == path
    assert path.read_bytes() == content
    assert path.stat().st_ino == inode
    assert visible(store) == [path]


def test_other_values_of_the_same_key_never_replace_the_first(store, make_record):
    first = make_record(metrics={"top1_k20": 61.87})
    path = store.add(first)
    second = store.add(make_record(metrics={"top1_k20": 61.9}))
    assert second == path.with_name(f"{first.key}.2.json")
    assert read_record(path) == first


def test_a_rerun_with_equal_values_keeps_nothing(store, make_record):
    path = store.add(make_record())
    assert store.add_rerun(make_record(started="2026-09-01T00:00:00Z")) is None
    assert visible(store) == [path]


def test_a_rerun_of_nothing_is_the_first_run(store, make_record):
    record = make_record()
    assert store.add_rerun(record) is None
    assert store.find(record.key) == record


def test_a_rerun_with_other_values_is_kept_and_said(store, make_record):
    first = make_record(metrics={"top1_k10": 60.0, "top1_k20": 61.5})
    path = store.add(first)
    rerun = store.add_rerun(make_record(metrics={"top1_k10": 60.0, "top1_k20": 61.75}))
    assert rerun.path == path.with_name(f"{first.key}.2.json")
    assert rerun.differences == ("top1_k20 was 61.5, is 61.75 (+0.25)",)
    third = store.add_rerun(make_record(metrics={"top1_k10": 59.0, "top1_k20": 61.5}))
    assert third.path.name == f"{first.key}.3.json"
    again = store.add_rerun(make_record(metrics={"top1_k10": 60.0, "top1_k20": 61.75}))
    assert again == rerun
    assert len(visible(store)) == 3
    assert [r.metric("top1_k20").value for r in store.all()] == [61.5, 61.75, 61.5]


def test_a_rerun_beside_a_damaged_record_is_not_lost(store, make_record):
    record = make_record()
    path = store.add(record)
    path.write_text("{")
    rerun = store.add_rerun(record)
    assert read_record(rerun.path) == record
    assert "cannot be read" in rerun.differences[0]


def test_differences_name_metrics_that_came_or_went(make_record):
    first = make_record(metrics={"top1": 50.0, "top5": 80.0})
    second = make_record(metrics={"top1": 50.0, "mAP": 10.0})
    assert differing(first, second) == (
        "top5 was 80.0, is absent",
        "mAP was absent, is 10.0",
    )
    assert differing(first, first) == ()


def test_other_repetitions_of_the_same_mean_differ(make_record):
    def repeated(*values: float) -> Record:
        metric = Metric("mAP", 50.0, "test", 10, values=values)
        return dataclasses.replace(make_record(), metrics=(metric,))

    (said,) = differing(repeated(49.0, 51.0), repeated(48.0, 52.0))
    assert said.startswith("mAP: the same 50.0, but")


def test_an_invalid_record_is_not_written(store, make_record):
    with pytest.raises(RecordError, match="not in 0 to 100"):
        store.add(make_record(metrics={"top1": 200.0}))
    with pytest.raises(RecordError, match="no plain name"):
        store.add(dataclasses.replace(make_record(), evaluation="../x"))
    assert visible(store) == []


def test_all_is_sorted_and_skips_what_is_no_record(store, make_record):
    for name in ("b", "a"):
        for seed in (3, 1, 2):
            store.add(make_record(name, identity={"seed": seed}))
    folder = store.folder / "a" / "knn_imagenet"
    (folder / "notes.json").write_text("not a record")
    (folder / f".{'0' * 32}.json").write_text("{")
    (folder / f"{'0' * 32}.json.tmp").write_text("{")
    found = [(record.name, record.key) for record in store.all()]
    assert found == sorted(found)
    assert len(found) == 6


def test_reruns_follow_their_first_run_in_the_order_of_their_numbers(
    store, make_record
):
    for value in range(50, 62):
        store.add(make_record(metrics={"top1": float(value)}))
    assert [r.metrics[0].value for r in store.all()] == list(range(50, 62))


def test_damaged_files_are_named_and_cost_no_others(store, make_record):
    good = make_record("good")
    store.add(good)
    torn = store.add(make_record("torn"))
    torn.write_text(torn.read_text()[:50])
    edited = store.add(make_record("edited"))
    edited.write_text(edited.read_text().replace('"seed": 0', '"seed": 1'))
    binary = store.add(make_record("binary"))
    binary.write_bytes(b"\xff\xfe\x00")
    records, complaints = store.read_all()
    assert records == [good]
    assert list(store.all(strict=False)) == [good]
    assert len(complaints) == 3
    for path in (torn, edited, binary):
        assert any(str(path) in complaint for complaint in complaints)
    seen = []
    with pytest.raises(RecordError, match=r"torn.*is damaged") as caught:
        seen.extend(iter_into(seen, store.all()))
    assert seen == [good]
    assert "edited" in str(caught.value)


def iter_into(seen, records):
    for record in records:
        seen.append(record)
    return ()


def test_a_record_in_the_wrong_folder_is_named(store, make_record):
    path = store.add(make_record("a"))
    wrong = store.folder / "b" / "knn_imagenet" / path.name
    wrong.parent.mkdir(parents=True)
    path.rename(wrong)
    _, complaints = store.read_all()
    assert "is the record of a/knn_imagenet" in complaints[0]


def test_a_record_under_another_key_is_named(store, make_record):
    path = store.add(make_record("a"))
    path.rename(path.with_name(f"{'0' * 32}.json"))
    _, (complaint,) = store.read_all()
    assert "move it there" in complaint


def test_finding_a_damaged_record_says_what_to_do(store, make_record):
    record = make_record()
    store.add(record).write_text("{")
    with pytest.raises(RecordError, match="remove it and run the evaluation again"):
        store.find(record.key)


@pytest.mark.parametrize("step", ["link", "fsync"])
@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_crash_before_the_name_leaves_nothing(
    store, make_record, monkeypatch, step, failure
):
    def crash(*_args, **_kwargs):
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(os, step, crash)
        expected = RecordError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            store.add(make_record())
    assert visible(store) == []
    store.add(make_record())
    assert len(visible(store)) == 1


def test_a_disk_without_hard_links_still_never_replaces(
    store, make_record, monkeypatch
):
    def refuse(*_args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    first = make_record(metrics={"top1": 1.0})
    path = store.add(first)
    assert store.add(make_record(metrics={"top1": 2.0})).name.endswith(".2.json")
    assert read_record(path) == first
    assert [p.name for p in visible(store) if p.suffix != ".json"] == [".lock"]

    def crash(*_args):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(RecordError, match="broken"):
        store.add(make_record("other"))
    assert not list(store.folder.glob("other/*/*.json"))
    assert not list(store.folder.glob("other/*/*.tmp"))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "Free some space"), (errno.EROFS, "can be written")],
)
def test_a_full_or_read_only_disk_is_said_with_the_path(
    store, make_record, monkeypatch, number, remedy
):
    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    record = make_record()
    with pytest.raises(RecordError) as caught:
        store.add(record)
    said = str(caught.value)
    assert f"{record.key}.json" in said
    assert os.strerror(number) in said
    assert remedy in said
    assert "--results" in said


def test_a_root_that_is_a_file_is_said(tmp_path, make_record):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="Not a directory"):
        RecordStore(tmp_path / "file").add(make_record())


def test_a_file_system_that_cannot_flush_folders_is_fine(
    store, make_record, monkeypatch
):
    real = os.fsync

    def only_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    assert store.add(make_record()).is_file()


WRITERS, EACH = 8, 25


def write_many(root: str, gate: str, template: dict, worker: int) -> list[str]:
    """Write records that all workers write, that race for a key, and one's own."""
    store, record = RecordStore(Path(root)), Record.from_json(template, "template")
    Path(gate, str(worker)).touch()
    while len(list(Path(gate).iterdir())) < WRITERS:
        time.sleep(0.001)
    paths = []
    for number in range(EACH):
        shared = dataclasses.replace(record.identity, seed=number)
        own = dataclasses.replace(record.identity, seed=1000 * (worker + 1) + number)
        metric = Metric("top1_k20", float(worker), "val", 50000)
        paths += [
            store.add(dataclasses.replace(record, identity=shared)),
            store.add(dataclasses.replace(record, identity=own)),
            store.add(
                dataclasses.replace(
                    record, name="race", identity=shared, metrics=(metric,)
                )
            ),
        ]
    return [str(path) for path in paths]


def test_eight_writers_at_once_lose_nothing(store, make_record, tmp_path):
    gate = tmp_path / "gate"
    gate.mkdir()
    template = make_record().to_json()
    with ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(write_many, str(store.root), str(gate), template, worker)
            for worker in range(WRITERS)
        ]
        written = {path for job in jobs for path in job.result()}
    records, complaints = store.read_all()
    assert complaints == []
    assert {str(path) for path in visible(store)} == written
    assert sum(r.name == "model" for r in records) == EACH + WRITERS * EACH
    race = [r for r in records if r.name == "race"]
    assert len(race) == WRITERS * EACH
    for seed in range(EACH):
        values = {r.metrics[0].value for r in race if r.identity.seed == seed}
        assert values == set(map(float, range(WRITERS)))


KILLED = """
import json, os, sys
from pathlib import Path
from ssl_bench.results.record import Record
from ssl_bench.results.store import RecordStore
os.link = lambda *_: os._exit(9)
record = Record.from_json(json.loads(sys.argv[2]), "argument")
RecordStore(Path(sys.argv[1])).add(record)
"""


def test_a_writer_killed_before_the_name_leaves_no_visible_record(store, make_record):
    record = make_record()
    words = [sys.executable, "-c", KILLED, str(store.root)]
    done = subprocess.run([*words, json.dumps(record.to_json())], check=False)
    assert done.returncode == 9
    (left,) = visible(store)
    assert left.name.startswith(".")
    assert left.suffix == ".tmp"
    assert list(store.all()) == []
    assert store.find(record.key) is None
    store.add(record)
    assert list(store.all()) == [record]
