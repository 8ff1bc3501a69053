"""Twenty processes that want the same at once: nothing is lost, nothing done twice.

One process imports torch and forks the others, which is the only quick way to start
twenty; they run as twenty jobs would, and meet once a round so that they collide.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.results.store import RecordStore

DRIVER = """
import errno, hashlib, json, multiprocessing, os, resource, sys, time, traceback
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from ssl_bench import backbones, data, locks
from ssl_bench.data.image_list import ImageDataset
from ssl_bench.errors import BenchError
from ssl_bench.features import Extraction, FeatureStore, extract_features
from ssl_bench.results.record import Identity, Metric, Record
from ssl_bench.results.store import RecordStore

mode, images, out, processes, rounds, full = sys.argv[1:]
out, processes, rounds, full = Path(out), int(processes), int(rounds), int(full)

def refuse(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

if mode == "none":
    locks.fcntl.lockf = refuse

def append(name, *words):
    # One write to a file opened for appending is whole, whoever else writes.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    handle = os.open(out / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (" ".join(map(str, words)) + "\\n").encode())
    os.close(handle)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)

image = ImageDataset.image
def logged(self, index):
    append("passes", self.turn, index, os.getpid())
    return image(self, index)
ImageDataset.image = logged

def record(name, turn, value):
    identity = Identity(
        weights="a" * 64, arch="resnet50", encoder="online", protocol="knn",
        version=1, settings={"k": [20], "turn": turn},
        data={"train": "b" * 64, "val": "c" * 64},
        transform={"size": 224}, dtype="fp32", seed=0)
    return Record(
        identity=identity, name=name, evaluation="knn_folder",
        checkpoint={"sha256": "f" * 64, "partial": False},
        dataset={"name": "folder", "bundled": False}, selection="none",
        metrics=(Metric(name="top1_k20", value=value, split="val", count=100),),
        code={}, environment={"filler": "x" * 20000},
        started="2026-08-01T12:00:00Z", seconds=1.5)

def work(number, barrier):
    features, records = FeatureStore(out / "cache"), RecordStore(out / "results")
    how = Extraction(batch_size=2, workers=0, device="cpu")
    for turn in range(rounds):
        # Another order is other features: each round has a key of its own.
        part = whole.select(orders[turn])
        part.turn = turn
        barrier.wait(120)
        if full and number >= full:
            time.sleep(0.2)  # those whose disk is full come first and hold the lock
        try:
            found = extract_features(
                backbone, part, transform="small", extraction=how, store=features)
            rows = np.asarray(found["final"].feats_ND)
            mark = hashlib.sha256(rows.tobytes()).hexdigest()
            append("rows", turn, number, rows.shape[0], mark)
            records.add(record("shared", turn, 50.0))
            records.add(record(f"own-{number}", turn, float(number)))
        except BenchError as error:
            append("failed", turn, number, json.dumps(str(error)))

def child(number, barrier):
    if number < full:  # the disk of these is full
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
    try:
        work(number, barrier)
    except BaseException:
        append("crashed", number, json.dumps(traceback.format_exc()))
        barrier.abort()
        raise

whole = data.open_dataset("folder", "train", Path(images))
backbone = backbones.build("resnet18-w8", seed=0)
rng = np.random.default_rng(7)
orders = [rng.choice(24, 4, replace=False) for _ in range(rounds)]
context = multiprocessing.get_context("fork")
barrier = context.Barrier(processes)
team = [context.Process(target=child, args=(n, barrier)) for n in range(processes)]
for process in team:
    process.start()
for process in team:
    process.join()
sys.exit(any(process.exitcode for process in team))
"""


def drive(
    mode: str, images: Path, out: Path, processes: int, rounds: int, full: int = 0
) -> None:
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, mode, images, out]
        + [str(number) for number in (processes, rounds, full)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, (lines(out / "crashed"), done.stderr[-2000:])


def lines(path: Path) -> list[list[str]]:
    return [line.split(" ", 2) for line in path.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "rounds"), [("kernel", 100), ("none", 20)])
def test_twenty_processes_lose_nothing_and_do_nothing_twice(
    mode: str, rounds: int, image_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    drive(mode, image_folder, out, 20, rounds)

    # Every image of every round was read once, and by one process a round.
    passes = [line.split() for line in (out / "passes").read_text().splitlines()]
    seen = collections.Counter((turn, index) for turn, index, _ in passes)
    assert set(seen) == {(str(t), str(i)) for t in range(rounds) for i in range(4)}
    assert set(seen.values()) == {1}
    assert len({(turn, pid) for turn, _, pid in passes}) == rounds

    # All twenty got the same rows.
    rows = collections.defaultdict(set)
    for turn, _, found in lines(out / "rows"):
        rows[turn].add(found)
    assert len(rows) == rounds
    assert all(len(found) == 1 for found in rows.values())
    assert len(lines(out / "rows")) == 20 * rounds

    # One shared record a round and one of each process, all whole.
    records, complaints = RecordStore(out / "results").read_all()
    assert complaints == []
    names = collections.Counter(record.name for record in records)
    expected = {"shared": rounds} | {f"own-{n}": rounds for n in range(20)}
    assert names == expected
    for record in records:
        owner = record.name.partition("-")[2]
        assert record.metrics[0].value == (float(owner) if owner else 50.0)

    # Nothing is left over but features, and the lock files that kernels lock.
    left = {p.name for p in (out / "cache" / "features").iterdir() if p.is_file()}
    assert len(left) == rounds
    assert all(name.endswith(".lock") for name in left)
    assert not list((out / "cache").rglob("*.partial"))
    assert not [p for p in out.rglob(".*") if p.name != ".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["kernel", "none"])
def test_a_full_disk_stops_those_that_have_it_and_nobody_else(
    mode: str, image_folder: Path, tmp_path: Path
) -> None:
    """Two of four processes can write no file above 700 bytes, as on a full disk.

    Shards of 4 rows of 64 float32 have 1,024 bytes and more; a claim has fewer.
    """
    out = tmp_path / "out"
    rounds = 8
    drive(mode, image_folder, out, 4, rounds, full=2)

    got = collections.Counter(number for _, number, _ in lines(out / "rows"))
    assert got["2"] == got["3"] == rounds
    failed = lines(out / "failed")
    assert failed, "the full disk was never met"
    for _, number, text in failed:
        assert number in ("0", "1")
        message = json.loads(text)
        assert message.startswith("cannot write ")
        assert "File too large" in message
        assert "\n" not in message
    assert any("shard-000000.npy" in text for _, _, text in failed)
    # What is there under a final name is whole.
    finished = [p for p in (out / "cache" / "features").iterdir() if p.is_dir()]
    assert len(finished) == rounds
    for folder in finished:
        assert np.load(folder / "features.npy").shape == (4, 64)
        assert json.loads((folder / "meta.json").read_text())["tap"] == "final"
    records, complaints = RecordStore(out / "results").read_all()
    assert complaints == []
    assert {record.name for record in records} >= {"own-2", "own-3", "shared"}
