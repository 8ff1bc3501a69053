"""What a protocol may say of itself: its labels and its transform; short settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ssl_bench
from ssl_bench import suite
from ssl_bench.data import ImageDataset, transforms
from ssl_bench.data.image_list import PathList
from ssl_bench.errors import ConfigError, DataError
from ssl_bench.features import Extraction
from ssl_bench.protocols import Outcome, Trial, knn
from ssl_bench.registry import DATASETS
from ssl_bench.results.record import Metric, Record
from ssl_bench.results.store import RecordStore
from ssl_bench.suite.request import Request

QUICK = Extraction(batch_size=8, workers=0)
RANDOM: dict[str, Any] = {"pretrain": "none", "arch": "resnet18-w4"}


class Pairs(ImageDataset):
    """Two labels an image: blue or green, and large or not."""

    name = "pairs"
    splits = ("trainval", "test")
    transform_name = "small"
    folders = ("photos",)
    layout = "whatever image_folder made"

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split, self.classes = root, split, ("blue", "large")
        folder = "train" if split == "trainval" else "val"
        paths = sorted((root / folder).rglob("*.png"))
        self.samples = PathList(str(path.relative_to(root)) for path in paths)
        targets = np.zeros((len(paths), 2), np.int8)
        targets[: len(paths) // 2, 0] = 1
        targets[::2, 1] = 1
        self.targets = targets


class Singles(Pairs):
    """The same images with one label each, and `Pairs` beside them."""

    name = "singles"
    several = Pairs

    def __init__(self, root: Path, split: str) -> None:
        super().__init__(root, split)
        self.targets = np.arange(len(self.samples), dtype=np.int64) % 2


@pytest.fixture(autouse=True)
def _two_more_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pairs, "find", classmethod(lambda cls, root: root))
    for kind in (Pairs, Singles):
        monkeypatch.setitem(DATASETS.module_dict, kind.name, kind)


def plan(folder: Path, dataset: str, **more: Any) -> suite.Plan:
    request = Request(
        **RANDOM, dataset=dataset, data_root=folder, extraction=QUICK, **more
    )
    return suite.plan_evaluation(request, "knn")


def evaluate(folder: Path, **more: Any) -> Record:
    return ssl_bench.evaluate(
        protocols="knn",
        **{"dataset": "folder", "extraction": QUICK, **RANDOM, **more},
        data_root=folder,
    )[0]


def test_roles_are_train_and_test_whatever_the_splits_are_called(
    image_folder: Path,
) -> None:
    found = suite.open_splits("pairs", image_folder, None, 0, several=True)
    assert {role: split.split for role, split in found.items()} == {
        "train": "trainval",
        "test": "test",
    }
    assert [len(split) for split in found.values()] == [24, 12]


def test_one_class_an_image_is_refused_several_before_extraction(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fits:
        SEVERAL = True

    monkeypatch.setattr(
        "ssl_bench.suite.images.protocols", lambda: {"knn": knn, "fits": Fits}
    )
    with pytest.raises(
        DataError,
        match=r"knn needs one class an image, but data set pairs .* data \(fits\)",
    ):
        plan(image_folder, "pairs")


def test_a_protocol_for_several_labels_gets_them(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(plan(image_folder, "singles").dataset["test"]) is Singles
    monkeypatch.setattr(knn, "SEVERAL", True, raising=False)
    for name in ("singles", "pairs"):
        splits = plan(image_folder, name).dataset
        assert {type(split) for split in splits.values()} == {Pairs}
        assert splits["train"].targets.shape == (24, 2)


def ask_for(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    """Let k-NN's settings ask for a transform where they name a single k."""

    def hook(settings: knn.Settings) -> str | None:
        return name if settings.topk == (3,) else None

    monkeypatch.setattr(knn, "transform_name", hook, raising=False)


UPSAMPLED = (
    {"type": "Resize", "size": 224, "interpolation": "bilinear", "antialias": True},
    {"type": "CenterCrop", "size": 224},
)


def test_settings_may_ask_for_a_transform(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for(monkeypatch, "upsample224")
    asking = {"settings.topk": [3]}
    for dataset in ("folder", "singles"):
        planned = plan(image_folder, dataset, options=asking)
        assert planned.transform == UPSAMPLED
        request = Request(**RANDOM, options=asking)
        assert suite.deviations(request, planned) == ()
    # Where the settings ask for nothing the data set's own stays.
    assert plan(image_folder, "singles").transform == ()
    assert plan(image_folder, "folder").transform == transforms.resolve("imagenet")


def test_a_config_overrules_the_settings_and_that_is_said(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for(monkeypatch, "upsample224")
    for named, said in (("upsample224", ()), ("imagenet", ("another transform",))):
        options = {"settings.topk": [3], "transform": named}
        planned = plan(image_folder, "folder", options=options)
        assert planned.transform == transforms.resolve(named)
        request = Request(**RANDOM, options=options)
        assert suite.deviations(request, planned) == said
    none = {"settings.topk": [3], "transform": []}
    assert plan(image_folder, "folder", options=none).transform == ()


def test_an_unknown_transform_is_complained_of_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask_for(monkeypatch, "squash256")
    request = Request(
        pretrain="nowhere.pth", dataset="folder", options={"settings.topk": [3]}
    )
    with pytest.raises(ConfigError, match=r"'squash256'\. Did you mean 'squash'"):
        suite.plan_evaluation(request, "knn")


def test_a_setting_without_its_prefix_is_the_same_evaluation(
    image_folder: Path,
) -> None:
    options = {"transform": "small"}
    long = evaluate(image_folder, options={**options, "settings.topk": [3]})
    short = evaluate(image_folder, options={**options, "topk": [3]})
    assert short.identity.settings["topk"] == [3]
    assert short.key == long.key
    with pytest.raises(ConfigError, match=r"topk=\[4\] and settings.topk=\[3\]"):
        evaluate(image_folder, options={"settings.topk": [3], "topk": [4]})


def run_as(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Trial], dict[str, Any]]
) -> None:
    """Let k-NN hand back an outcome of one metric, with some fields changed."""

    def run(trial: Trial) -> Outcome:
        plain = Outcome((Metric("top1_k3", 50.0, "val", 12),), "none", {"val": 12})
        return dataclasses.replace(plain, **change(trial))

    monkeypatch.setattr(knn, "run", run)


def test_details_reach_the_record_and_its_file(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    details = {"ap": {"cat": (1.5, 2.0)}, "cost": [0.1]}
    run_as(monkeypatch, lambda trial: {"details": details})
    store = RecordStore(tmp_path / "results")
    record = evaluate(image_folder, store=store)
    assert record.details == {"ap": {"cat": [1.5, 2.0]}, "cost": [0.1]}
    assert next(iter(store.all())).details == record.details
    run_as(monkeypatch, lambda trial: {})
    assert evaluate(image_folder).key == record.key


def test_a_trial_takes_features_by_another_pooling(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``resnet18-w4`` has 32 channels in its last stage: 4 places of them are 128."""
    seen: dict[str, Any] = {}

    def look(trial: Trial) -> dict[str, Any]:
        seen.update(trial.features(["layer4", "final"], {"layer4": "adaptive_2"}))
        return {}

    run_as(monkeypatch, look)
    evaluate(image_folder, options={"transform": "small"})
    assert list(seen) == ["train", "test"]
    for role, count in (("train", 24), ("test", 12)):
        assert seen[role]["layer4"].feats_ND.shape == (count, 128)
        assert seen[role]["final"].feats_ND.shape == (count, 32)


def test_given_features_keep_their_one_tap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for role, count in (("train", 20), ("test", 6)):
        np.save(tmp_path / f"{role}_features.npy", rng.normal(size=(count, 4)))
        np.save(tmp_path / f"{role}_targets.npy", np.arange(count) % 2)
    seen: dict[str, Any] = {}

    def look(trial: Trial) -> dict[str, Any]:
        seen.update(trial.features(["layer4"], {"layer4": "adaptive_2"}))
        return {}

    run_as(monkeypatch, look)
    ssl_bench.evaluate(protocols="knn", features=tmp_path)
    assert {role: list(by_tap) for role, by_tap in seen.items()} == {
        "train": ["given"],
        "test": ["given"],
    }
