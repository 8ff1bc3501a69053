"""One, two and three processes leave the same bytes and the same record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.launch import crew
from tests.training import small

pytestmark = pytest.mark.slow

# 37 and 23 images: no number of processes divides them, nor the batches of 3.
TRAIN, VAL = (17, 12, 8), (9, 8, 6)
PROTOCOLS: dict[str, dict[str, Any]] = {
    "knn": {"topk": [1, 5], "distances": ["cosine", "euclidean"], "bank_chunk": 10},
    "svm": {"together": 1, "folds": 2},
    "lowshot": {"together": 1, "shots": [1, 2], "samples": 2},
    "probe": {"rates": [0.1, 1.0], "least_steps": 20, "costs": [1.0], "columns": 3},
}
SCRIPT = """
import json
from pathlib import Path
from ssl_bench.features import Extraction, shards
from ssl_bench.results.store import RecordStore
from ssl_bench.suite import evaluate

shards._SHARD_IMAGES = 1
root, out, protocols = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
with launch.together("pytorch", "cpu") as device:
    for name, settings in protocols.items():
        evaluate(
            "none",
            name,
            arch="resnet18-w8",
            store=RecordStore(out),
            dataset="folder",
            data_root=root,
            extraction=Extraction(device, batch_size=int(sys.argv[4]), workers=0),
            options={f"settings.{key}": value for key, value in settings.items()},
        )
"""


def run(
    root: Path, out: Path, count: int, *, batch: int = 3, threads: int = 1
) -> dict[str, dict[str, Any]]:
    members = crew.begin(
        SCRIPT,
        count,
        *(root, out, json.dumps(PROTOCOLS), batch),
        threads=threads,
        environment={"SSL_BENCH_CACHE": str(out / "cache")},
    )
    for code, _, err in crew.finish(members):
        assert code == 0, err[-3000:]
    records = [json.loads(p.read_text()) for p in (out / "records").rglob("*.json")]
    assert len(records) == len(PROTOCOLS)
    return {record["evaluation"]: record for record in records}


def features(out: Path) -> dict[str, bytes]:
    return {
        path.parent.name + path.name: path.read_bytes()
        for path in (out / "cache" / "features").rglob("*.npy")
    }


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_images(tmp_path_factory.mktemp("images"), TRAIN, VAL)


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("alone")
    return out, run(images, out, 1)


@pytest.mark.parametrize("count", [2, 3])
def test_every_number_of_processes(
    count: int, images: Path, tmp_path: Path, alone: Any
) -> None:
    folder, expected = alone
    found = run(images, tmp_path, count)
    assert features(tmp_path) == features(folder)
    assert len(features(folder)) >= 8
    for evaluation, record in found.items():
        for part in ("key", "metrics", "details", "selection"):
            assert record.get(part) == expected[evaluation].get(part), (
                evaluation,
                part,
            )
    assert not list((tmp_path / "cache" / "features").glob("*.partial"))


def test_processes_without_a_single_image(
    images: Path, tmp_path: Path, alone: Any
) -> None:
    # One batch holds a whole split, so that two of three have nothing to extract.
    found = run(images, tmp_path, 3, batch=64)
    for evaluation, record in found.items():
        assert record["key"] == alone[1][evaluation]["key"]
        assert [m["value"] for m in record["metrics"]] == pytest.approx(
            [m["value"] for m in alone[1][evaluation]["metrics"]], abs=1e-9
        )


def test_other_numbers_of_threads(images: Path, tmp_path: Path, alone: Any) -> None:
    folder, expected = alone
    found = run(images, tmp_path, 1, threads=2)
    for path in (folder / "cache" / "features").rglob("features.npy"):
        other = tmp_path / "cache" / "features" / path.parent.name / path.name
        one, two = np.load(path), np.load(other)
        assert np.abs(one - two).max() <= 1e-6 * np.abs(one).max()
    for evaluation, record in found.items():
        assert record["key"] == expected[evaluation]["key"]
        assert [m["value"] for m in record["metrics"]] == pytest.approx(
            [m["value"] for m in expected[evaluation]["metrics"]], abs=1e-9
        )
