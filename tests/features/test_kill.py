"""Extraction killed with SIGKILL, ten times over: no lost shard, the same bytes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Small shards and a pause in each, so that kills land between and inside them.
WORKER = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from ssl_bench import backbones, data
from ssl_bench.features import Extraction, FeatureStore, extract_features
from ssl_bench.features import shards, store

shards._SHARD_IMAGES = 1
write = store.ShardWriter.write
log = Path(sys.argv[3])

def slow(self, number, *rest):
    time.sleep(float(sys.argv[4]))
    write(self, number, *rest)
    with log.open("a") as file:
        file.write(f"{number}\\n")

store.ShardWriter.write = slow
dataset = data.open_dataset("folder", "train", Path(sys.argv[1]))
backbone = backbones.build("resnet18-w8", seed=0)
log.touch()
extract_features(backbone, dataset, ["layer3", "final"], transform="small",
    extraction=Extraction(batch_size=1, workers=0),
    store=FeatureStore(Path(sys.argv[2])))
print("finished")
"""
KILLS = 10


def start(images: Path, store: Path, log: Path, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(images), str(store), str(log), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finished_files(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and ".lock" not in path.name
    }


@pytest.mark.slow
def test_ten_kills_give_the_bytes_of_an_undisturbed_run(
    image_folder: Path, tmp_path: Path
) -> None:
    calm = start(image_folder, tmp_path / "calm", tmp_path / "calm.log", 0.0)
    assert calm.communicate(timeout=120)[0] == "finished\n"

    rng = random.Random(20)
    log = tmp_path / "log"
    store = tmp_path / "store"
    kills = with_shards = 0
    for turn in range(KILLS):
        log.unlink(missing_ok=True)
        process = start(image_folder, store, log, 0.04)
        deadline = time.monotonic() + 60
        # Every other kill waits for a shard of this very run, however slow the machine.
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and (turn % 2 == 0 or log.stat().st_size):
                break
            time.sleep(0.01)
        shards = {p.name for p in store.rglob("shard-*.json")}
        time.sleep(rng.uniform(0.0, 0.25))
        process.kill()
        process.communicate()
        assert process.returncode in (-9, 0)
        kills += process.returncode == -9
        with_shards += process.returncode == -9 and any(store.rglob("shard-*.json"))
        left = {p.name for p in store.rglob("shard-*.json")}
        done = any(p.name == "features.npy" for p in store.rglob("*/features.npy"))
        assert done or shards <= left, "a finished shard was lost"
    assert kills >= KILLS // 2
    assert with_shards >= 3, "the kills came before there was anything to lose"

    last = start(image_folder, store, log, 0.0)
    assert last.communicate(timeout=120)[0] == "finished\n"
    assert finished_files(store) == finished_files(tmp_path / "calm")
    assert not list(store.rglob("*.partial"))
    assert os.listdir(store / "features")  # noqa: PTH208 - names are enough
