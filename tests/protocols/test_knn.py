"""The k-NN protocol: names, what it does with k, ties to the solver's reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from ssl_bench import suite
from ssl_bench.errors import BenchError, ConfigError, FeatureError
from ssl_bench.protocols.knn import Settings, metric_name
from ssl_bench.results.record import Record


def write(
    folder: Path,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> Path:
    folder.mkdir(exist_ok=True)
    for role, (feats, targets) in (("train", train), ("test", test)):
        np.save(folder / f"{role}_features.npy", np.asarray(feats, np.float32))
        np.save(folder / f"{role}_targets.npy", np.asarray(targets))
    return folder


def cloud(count: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    centres = np.random.default_rng(0).normal(size=(classes, 6))
    return centres[targets] + rng.normal(size=(count, 6)), targets


def run(folder: Path, **settings: object) -> Record:
    options = {f"settings.{name}": value for name, value in settings.items()}
    return suite.evaluate(protocols="knn", features=folder, options=options)[0]


def value(record: Record, name: str) -> float:
    metric = record.metric(name)
    assert metric is not None, name
    return metric.value


def test_metric_names() -> None:
    assert metric_name(1, 20, "weighted", "cosine", 0.07) == "top1_k20"
    assert metric_name(5, 20, "weighted", "cosine", 0.1) == "top5_k20_T0.1"
    assert metric_name(1, 5, "weighted", "cosine", 1e-5) == "top1_k5_T0.00001"
    assert metric_name(1, 5, "weighted", "cosine", 1.0) == "top1_k5_T1"
    assert metric_name(1, 5, "weighted", "cosine", 0.1234567) == "top1_k5_T0.1234567"
    assert metric_name(1, 10, "majority", "cosine", None) == "top1_k10_majority"
    assert (
        metric_name(1, 10, "majority", "euclidean", None)
        == "top1_k10_majority_euclidean"
    )
    assert metric_name(1, 10, "weighted", "euclidean", None) == "top1_k10_euclidean"


def test_default_record_has_every_k_and_both_votes(tmp_path: Path) -> None:
    record = run(write(tmp_path / "f", cloud(300, 1), cloud(50, 2)))
    names = [m.name for m in record.metrics]
    expected = {
        f"top{top}_k{k}{vote}"
        for top in (1, 5)
        for k in (10, 20, 100, 200)
        for vote in ("", "_majority")
    }
    assert set(names) == expected
    assert record.selection == "none"
    assert record.warnings == ()


@pytest.mark.parametrize("k", [1, 7, 50])
def test_majority_and_euclidean_equal_scikit_learn(tmp_path: Path, k: int) -> None:
    train, test = cloud(200, 3), cloud(90, 4)
    record = run(
        write(tmp_path / "f", train, test), topk=[k], distances=["cosine", "euclidean"]
    )
    for suffix, arguments in (
        ("_majority", {"metric": "cosine"}),
        ("_majority_euclidean", {}),
        ("_euclidean", {"weights": "distance"}),
    ):
        model = KNeighborsClassifier(k, algorithm="brute", **arguments)
        model.fit(np.float32(train[0]), train[1])
        right = 100 * model.score(np.float32(test[0]), test[1])
        assert value(record, f"top1_k{k}{suffix}") == pytest.approx(right), suffix


def test_several_temperatures(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(60, 1), cloud(20, 2))
    record = run(folder, topk=[5], temperatures=[0.07, 0.1, 1.0], votes=["weighted"])
    assert [m.name for m in record.metrics] == [
        "top1_k5", "top5_k5",
        "top1_k5_T0.1", "top5_k5_T0.1",
        "top1_k5_T1", "top5_k5_T1",
    ]  # fmt: skip


def test_default_k_beyond_the_bank_are_left_out_and_said(tmp_path: Path) -> None:
    record = run(write(tmp_path / "f", cloud(30, 1), cloud(9, 2)))
    assert {m.name.split("_")[1] for m in record.metrics} == {"k10", "k20"}
    assert "100, 200" in record.warnings[0]


def test_a_bank_smaller_than_every_k_uses_all_of_it(tmp_path: Path) -> None:
    record = run(write(tmp_path / "f", cloud(7, 1), cloud(3, 2)))
    assert {m.name.split("_")[1] for m in record.metrics} == {"k7"}


def test_one_image_against_one(tmp_path: Path) -> None:
    one = (np.ones((1, 3)), np.array([0]))
    other = (np.array([[1.0, 2.0, 3.0]]), np.array([0]))
    record = run(write(tmp_path / "f", one, other))
    assert value(record, "top1_k1") == 100.0


def test_a_k_that_was_asked_for_is_never_dropped(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(30, 1), cloud(9, 2))
    with pytest.raises(BenchError, match="k = 31 is larger than the bank of 30"):
        run(folder, topk=[10, 31])


def test_bank_and_query_alike_leave_each_image_out(tmp_path: Path) -> None:
    """Targets are random, features distinct: its own neighbour would give 100 %."""
    feats, targets = cloud(120, 5)[0], np.random.default_rng(1).integers(0, 4, 120)
    folder = write(tmp_path / "f", (feats, targets), (feats, targets))
    record = run(folder, topk=[1], votes=["majority"])
    model = KNeighborsClassifier(2, metric="cosine", algorithm="brute")
    model.fit(np.float32(feats), targets)
    second = model.kneighbors(np.float32(feats), return_distance=False)[:, 1]
    right = 100 * np.mean(targets[second] == targets)
    assert value(record, "top1_k1_majority") == pytest.approx(right)
    assert record.environment["leave_one_out"] is True


def test_query_train_is_leave_one_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(40, 1), cloud(9, 2))
    record = run(folder, query="train", topk=[3])
    assert record.environment["leave_one_out"] is True
    assert record.metrics[0].count == 40
    assert record.metrics[0].split == "train"


def test_a_single_image_cannot_ask_itself(tmp_path: Path) -> None:
    one = (np.ones((1, 3)), np.array([0]))
    with pytest.raises(FeatureError, match="single image"):
        run(write(tmp_path / "f", one, one), query="train")


def test_a_class_that_the_bank_lacks_is_said(tmp_path: Path) -> None:
    train = (np.eye(4), np.array([0, 0, 1, 1]))
    test = (np.eye(4)[:2] + 0.1, np.array([0, 2]))
    record = run(write(tmp_path / "f", train, test), topk=[1])
    assert value(record, "top1_k1") == 50.0
    assert "1 classes" in record.warnings[0]


def test_multi_label_targets_are_refused(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [0, 1], [1, -1]], dtype=np.int8)
    pair = (np.eye(3), labels)
    with pytest.raises(FeatureError, match="multi-label"):
        run(write(tmp_path / "f", pair, (np.eye(3) + 1, labels)))


def test_nan_and_constant_features_are_refused(tmp_path: Path) -> None:
    train, test = cloud(30, 1), cloud(9, 2)
    train[0][4, 2] = np.nan
    with pytest.raises(FeatureError, match="row 4"):
        run(write(tmp_path / "f", train, test))
    constant = (np.ones((30, 6)), train[1])
    with pytest.raises(FeatureError, match="the same for all 30"):
        run(write(tmp_path / "g", constant, test))


def test_bad_settings_are_refused_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(30, 1), cloud(9, 2))
    with pytest.raises(ConfigError) as caught:
        run(folder, topk=[0, 3, 3], temperatures=[-1.0], votes=["loud"], query_chunk=0)
    text = str(caught.value)
    for word in ("k is 1 or more", "twice", "above 0", "votes", "query_chunk=0"):
        assert word in text, word


def test_chunks_move_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(101, 1), cloud(37, 2))
    whole = run(folder, topk=[9])
    parts = run(folder, topk=[9], query_chunk=5, bank_chunk=11)
    assert whole.metrics == parts.metrics
    assert whole.key == parts.key


@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_backends_agree(tmp_path: Path, backend: str) -> None:
    folder = write(tmp_path / "f", cloud(101, 1), cloud(37, 2))
    record = run(folder, topk=[9], backend=backend)
    assert record.environment["backend"] == backend
    assert record.metrics == run(folder, topk=[9]).metrics


def test_defaults_are_the_published_ones() -> None:
    settings = Settings()
    assert settings.topk == (10, 20, 100, 200)
    assert settings.temperatures == (0.07,)
    assert settings.distances == ("cosine",)
