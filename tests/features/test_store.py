"""The store: whole or not at all, one writer, nothing lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.errors import BenchError, FeatureError
from ssl_bench.features import FeatureStore

PLAN = {"images": 5, "batch_size": 2, "per_shard": 1}
META = {
    "tap": "final",
    "pooling": "average",
    "dataset": "d",
    "split": "train",
    "classes": ["a", "b"],
    "samples": ["a/0", "a/1", "b/0", "b/1", "b/2"],
}
FEATS = np.arange(15, dtype=np.float32).reshape(5, 3)
TARGETS = np.array([0, 0, 1, 1, 1])


def fill(store: FeatureStore, key: str = "k") -> None:
    store.root.mkdir(parents=True, exist_ok=True)
    writer = store.writer(key, PLAN)
    for number in range(3):
        if not writer.has(number):
            writer.write(number, FEATS[2 * number : 2 * number + 2], {})
    writer.finish(3, TARGETS, META)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    assert store.get("k") is None
    fill(store)
    found = store.get("k")
    assert found is not None
    assert np.array_equal(found.feats_ND, FEATS)
    assert np.array_equal(found.targets, TARGETS)
    assert found.classes == ("a", "b")
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_file_is_plain_numpy(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    fill(store)
    assert np.array_equal(np.load(store.path("k") / "features.npy"), FEATS)


def test_skipped_images_leave_no_row(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    writer = store.writer("k", PLAN)
    writer.write(0, FEATS[:2], {})
    writer.write(1, np.zeros((0, 0), np.float32), {2: "broken", 3: "empty"})
    writer.write(2, FEATS[4:], {})
    writer.finish(3, TARGETS, META)
    found = store.get("k")
    assert found is not None
    assert found.targets.tolist() == [0, 0, 1]
    assert np.array_equal(found.feats_ND, FEATS[[0, 1, 4]])
    assert found.skipped == {"b/0": "broken", "b/1": "empty"}


def test_rows_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    writer = store.writer("k", PLAN)
    writer.write(0, FEATS[:2], {})
    with pytest.raises(FeatureError, match="2 feature rows for 5 images"):
        writer.finish(1, TARGETS, META)
    assert store.get("k") is None


def test_shards_of_another_plan_are_dropped(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    store.writer("k", PLAN).write(0, FEATS[:2], {})
    assert store.writer("k", PLAN).has(0)
    assert not store.writer("k", {**PLAN, "batch_size": 3}).has(0)


@pytest.mark.parametrize(
    "victim", ["ssl_bench.features.store.sync_dir", "shutil.rmtree"]
)
def test_a_crash_while_joining_loses_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    writer = store.writer("k", PLAN)
    for number in range(3):
        writer.write(number, FEATS[2 * number : 2 * number + 2], {})
    with monkeypatch.context() as patch:

        def crash(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(victim, crash)
        with pytest.raises(KeyboardInterrupt):
            writer.finish(3, TARGETS, META)
    if store.get("k") is None:
        again = store.writer("k", PLAN)
        assert all(again.has(number) for number in range(3))
        again.finish(3, TARGETS, META)
    found = store.get("k")
    assert found is not None
    assert np.array_equal(found.feats_ND, FEATS)


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    fill(store)
    (store.path("k") / "meta.json").write_text("{")
    with pytest.raises(FeatureError, match="remove that folder"):
        store.get("k")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    store = FeatureStore(blocked)
    with pytest.raises((BenchError, OSError)), store.locked(["k"]):
        pass


def _hold(root: Path, started: Path, log: Path) -> None:
    with FeatureStore(root).locked(["k", "j"]):
        started.touch()
        time.sleep(0.5)
        with log.open("a") as file:
            file.write("first\n")


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    log, started = tmp_path / "log", tmp_path / "started"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_hold, args=(tmp_path / "s", started, log))
    process.start()
    deadline = time.monotonic() + 30
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with FeatureStore(tmp_path / "s").locked(["j", "k"]), log.open("a") as file:
        file.write("second\n")
    process.join()
    assert log.read_text() == "first\nsecond\n"


def _leave_an_orphan(root: Path, orphan: Path) -> None:
    """End while holding the lock, as by SIGKILL, with a forked worker still alive."""
    with FeatureStore(root).locked(["k"]):
        child = os.fork()
        if child == 0:
            time.sleep(20)
            os._exit(0)
        orphan.write_text(str(child))
        os._exit(9)


def test_a_killed_process_leaves_no_lock_to_its_orphans(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    orphan = tmp_path / "orphan"
    process = context.Process(target=_leave_an_orphan, args=(tmp_path / "s", orphan))
    process.start()
    process.join()
    assert process.exitcode == 9
    start = time.monotonic()
    try:
        with FeatureStore(tmp_path / "s").locked(["k"]):
            assert time.monotonic() - start < 10
    finally:
        os.kill(int(orphan.read_text()), signal.SIGKILL)


def test_a_shard_without_its_rows_is_none(tmp_path: Path) -> None:
    """A kill in the middle of throwing old shards away may leave one half."""
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    writer = store.writer("k", PLAN)
    writer.write(0, FEATS[:2], {})
    next(tmp_path.rglob("shard-*.npy")).unlink()
    assert not store.writer("k", PLAN).has(0)


def test_shards_without_a_plan_are_none(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    store.writer("k", PLAN).write(0, FEATS[:2], {})
    next(tmp_path.rglob("plan.json")).unlink()
    assert store.begun(["k"]) is None
    assert not store.writer("k", PLAN).has(0)


@pytest.mark.parametrize("text", ["", "[]", '{"images": 5}', '{"images": -1}'])
def test_a_plan_that_is_none_begins_anew(tmp_path: Path, text: str) -> None:
    store = FeatureStore(tmp_path)
    store.root.mkdir(parents=True)
    store.writer("k", PLAN)
    next(tmp_path.rglob("plan.json")).write_text(text)
    assert store.begun(["k"]) is None


def test_of_two_that_did_the_same_the_first_ones_stay(tmp_path: Path) -> None:
    """As when a suspended process lost its lock, and both went on."""
    store = FeatureStore(tmp_path)
    fill(store)
    before = (store.path("k") / "features.npy").stat().st_ino
    fill(store)
    found = store.get("k")
    assert found is not None
    assert np.array_equal(found.feats_ND, FEATS)
    assert (store.path("k") / "features.npy").stat().st_ino == before
    assert [path.name for path in store.root.iterdir()] == ["k"]
