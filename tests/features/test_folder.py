"""Features in plain files: round trip, and everything wrong said at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ssl_bench.errors import FeatureError
from ssl_bench.features import Features, folder, read_folder, write_folder


def features(split: str, tap: str = "final", count: int = 4) -> Features:
    rng = np.random.default_rng(len(split) + len(tap))
    return Features(
        feats_ND=rng.normal(size=(count, 3)).astype(np.float32),
        targets=np.arange(count),
        tap=tap,
        pooling="average",
        dataset="d",
        split=split,
        fingerprint="k",
    )


def test_round_trip(tmp_path: Path) -> None:
    train, test = features("train"), features("val")
    paths = write_folder(tmp_path, {"train": {"final": train}, "test": {"final": test}})
    assert [p.name for p in paths] == [
        "train_features.npy",
        "train_targets.npy",
        "test_features.npy",
        "test_targets.npy",
    ]
    found = read_folder(tmp_path)
    assert np.array_equal(found["train"].feats_ND, train.feats_ND)
    assert np.array_equal(found["test"].targets, test.targets)
    assert found["test"].targets.dtype == np.int64


def test_several_taps_have_a_folder_each(tmp_path: Path) -> None:
    taps = ("layer3", "final")
    splits = {r: {t: features(r, t) for t in taps} for r in ("train", "test")}
    write_folder(tmp_path, splits)
    for tap in taps:
        assert len(read_folder(tmp_path / tap)) == 2


def test_multi_label_targets_stay_what_they_are(tmp_path: Path) -> None:
    write_folder(tmp_path, {r: {"final": features(r)} for r in ("train", "test")})
    labels = np.array([[1, 0, -1]] * 4, dtype=np.int8)
    np.save(tmp_path / "train_targets.npy", labels)
    assert np.array_equal(read_folder(tmp_path)["train"].targets, labels)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "train_features.npy", np.zeros((4, 3), np.int32))
    np.save(tmp_path / "train_targets.npy", np.array([0, 1, -2]))
    (tmp_path / "test_features.npy").write_text("not an array")
    with pytest.raises(FeatureError) as caught:
        read_folder(tmp_path)
    text = str(caught.value)
    for word in (
        "test_targets.npy is missing",
        "test_features.npy is not a readable",
        "int32",
        "4 features but 3 targets",
        "-2",
    ):
        assert word in text, word


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    write_folder(tmp_path, {r: {"final": features(r)} for r in ("train", "test")})
    np.save(tmp_path / "test_targets.npy", np.array([{}], dtype=object))
    with pytest.raises(FeatureError, match="test_targets"):
        read_folder(tmp_path)


def test_dimensions_that_differ(tmp_path: Path) -> None:
    write_folder(tmp_path, {r: {"final": features(r)} for r in ("train", "test")})
    np.save(tmp_path / "test_features.npy", np.zeros((4, 2), np.float32))
    with pytest.raises(FeatureError, match="differ in dimensions"):
        read_folder(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="not a folder"):
        read_folder(tmp_path / "none")


def test_one_changed_value_changes_the_fingerprint(tmp_path: Path) -> None:
    write_folder(tmp_path, {r: {"final": features(r)} for r in ("train", "test")})
    before = read_folder(tmp_path)["train"].fingerprint
    targets = np.load(tmp_path / "train_targets.npy")
    targets[0] += 1
    np.save(tmp_path / "train_targets.npy", targets)
    assert read_folder(tmp_path)["train"].fingerprint != before


def test_a_killed_rewrite_leaves_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {r: {"final": features(r)} for r in ("train", "test")}
    write_folder(tmp_path, old)
    write = folder.write_array

    def stop_at_test(path: Path, array: np.ndarray) -> None:
        if len(array) == 9:
            raise KeyboardInterrupt
        write(path, array)

    monkeypatch.setattr(folder, "write_array", stop_at_test)
    new = {
        "train": {"final": features("train", count=5)},
        "test": {"final": features("test", count=9)},
    }
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path, new)
    with pytest.raises(FeatureError, match=r"test_features\.npy is missing"):
        read_folder(tmp_path)


def test_features_of_something_else_are_never_replaced(tmp_path: Path) -> None:
    one = {r: {"final": features(r)} for r in ("train", "test")}
    write_folder(tmp_path, one)
    write_folder(tmp_path, one)
    before = (tmp_path / "train_features.npy").read_bytes()
    other = {
        role: {"final": dataclasses.replace(features(role), fingerprint="other")}
        for role in ("train", "test")
    }
    with pytest.raises(FeatureError, match="something else"):
        write_folder(tmp_path, other)
    (tmp_path / "features.json").unlink()
    with pytest.raises(FeatureError, match="something else"):
        write_folder(tmp_path, one)
    assert (tmp_path / "train_features.npy").read_bytes() == before
