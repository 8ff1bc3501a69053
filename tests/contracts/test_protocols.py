"""Every protocol: documented, honest about its metrics, deterministic, keyed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench import suite
from ssl_bench.config import keyed_settings
from ssl_bench.features import Extraction
from ssl_bench.protocols import is_dense, protocols, trains
from ssl_bench.results.record import Record
from tests.training import small

PROTOCOLS = protocols()
FROZEN = {name: module for name, module in PROTOCOLS.items() if not trains(module)}
"""Those that work on features."""

TRAINED = [
    name
    for name, module in PROTOCOLS.items()
    if trains(module) and not is_dense(module)
]
"""Those that train on images, by a recipe; detectors and segmentors have a file of
their own, test_dense_protocols.py."""


def write_features(folder: Path) -> Path:
    """Write two well-parted classes, 24 train and 9 test rows of 5 dimensions."""
    rng = np.random.default_rng(7)
    folder.mkdir()
    for role, count in (("train", 24), ("test", 9)):
        targets = np.arange(count) % 2
        feats = rng.normal(size=(count, 5)) + 4 * targets[:, None]
        np.save(folder / f"{role}_features.npy", feats.astype(np.float32))
        np.save(folder / f"{role}_targets.npy", targets.astype(np.int64))
    return folder


def run(name: str, folder: Path, **more: object) -> Record:
    return suite.evaluate(protocols=name, features=folder, **more)[0]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_says_what_it_is(name: str) -> None:
    module = PROTOCOLS[name]
    assert module.__doc__ is not None
    for word in ("Data:", "Source:", "Expected:"):
        assert word in module.__doc__, word
    assert isinstance(module.VERSION, int)
    assert module.METRICS
    assert isinstance(module.DATASET, str)
    assert Path(module.__file__ or "").stem == name.replace("-", "_")


@pytest.mark.parametrize("name", FROZEN)
def test_settings_are_frozen_and_valid_by_default(name: str) -> None:
    settings = PROTOCOLS[name].Settings()
    assert settings.validate() == []
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.anything = 1


@pytest.mark.parametrize("name", FROZEN)
def test_metrics_are_those_it_declares(name: str, tmp_path: Path) -> None:
    record = run(name, write_features(tmp_path / "f"))
    assert record.metrics
    for metric in record.metrics:
        assert any(re.fullmatch(p, metric.name) for p in PROTOCOLS[name].METRICS)
        assert metric.complaints() == []
        assert metric.count == 9
    assert record.selection


@pytest.mark.parametrize("name", FROZEN)
def test_same_seed_gives_the_same_and_touches_no_global_generator(
    name: str, tmp_path: Path
) -> None:
    folder = write_features(tmp_path / "f")
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = run(name, folder, seed=5)
    second = run(name, folder, seed=5)
    after = np.random.get_state()[1], torch.get_rng_state()
    assert first.metrics == second.metrics
    assert first.key == second.key
    assert np.array_equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("name", FROZEN)
def test_every_keyed_setting_changes_the_key(name: str, tmp_path: Path) -> None:
    kind = PROTOCOLS[name].Settings
    plain = keyed_settings(kind())
    unkeyed = {f.name for f in dataclasses.fields(kind)} - set(plain)
    for field in dataclasses.fields(kind):
        changed = dataclasses.replace(kind(), **{field.name: "something else"})
        differs = keyed_settings(changed) != plain
        assert differs == (field.name not in unkeyed), field.name


@pytest.mark.parametrize("name", FROZEN)
def test_seed_is_part_of_the_key(name: str, tmp_path: Path) -> None:
    folder = write_features(tmp_path / "f")
    assert run(name, folder, seed=1).key != run(name, folder, seed=2).key


@pytest.mark.parametrize("name", FROZEN)
def test_changed_features_change_the_key(name: str, tmp_path: Path) -> None:
    folder = write_features(tmp_path / "f")
    before = run(name, folder).key
    path = folder / "train_features.npy"
    feats = np.load(path)
    feats[0, 0] += 1e-3
    np.save(path, feats)
    assert run(name, folder).key != before


def training_request(protocol: str, folder: Path, **more: Any) -> dict[str, Any]:
    """Return a request for two steps on 11 train and 5 val images of two classes."""
    root = folder / "images"
    if not root.exists():
        small.write_images(root, (6, 5), (3, 2))
    config = small.write_config(folder / "recipe.py", protocol, epochs=1)
    return {
        "pretrain": "none",
        "arch": small.ARCH,
        "dataset": "folder",
        "data_root": root,
        "config": str(config),
        "work_dir": folder / "run",
        "extraction": Extraction(device="cpu"),
        **more,
    }


def train(name: str, folder: Path, **more: Any) -> Record:
    return suite.evaluate(protocols=name, **training_request(name, folder, **more))[0]


def key_of(protocol: str, folder: Path, **more: Any) -> str:
    """Return the key that a run would have, without running it."""
    request = suite.Request(**training_request(protocol, folder, **more))
    return suite.identify(request, suite.plan_evaluation(request, protocol)).key()


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_protocol_has_no_settings(name: str) -> None:
    assert not hasattr(PROTOCOLS[name], "Settings")


@pytest.mark.parametrize("name", TRAINED)
def test_metrics_of_a_training_are_those_it_declares(name: str, tmp_path: Path) -> None:
    record = train(name, tmp_path)
    assert record.metrics
    for metric in record.metrics:
        assert any(re.fullmatch(p, metric.name) for p in PROTOCOLS[name].METRICS)
        assert metric.complaints() == []
        assert metric.count == 5
    assert record.selection
    assert record.key == key_of(name, tmp_path)


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_trains_the_same_and_touches_no_global_generator(
    name: str, tmp_path: Path
) -> None:
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = train(name, tmp_path, seed=5)
    second = train(name, tmp_path, seed=5)
    after = np.random.get_state()[1], torch.get_rng_state()
    assert first.metrics == second.metrics
    assert first.key == second.key
    assert np.array_equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"optim_wrapper.optimizer.lr": 0.2}},
        {"options": {"auto_scale_lr.base_batch_size": 4}},
        {"options": {"train_cfg.max_epochs": 2}},
        {"options": {"model.heads.head.init_std": 0.02}},
        {"options": {"train_dataloader.dataset.transform.0.padding": 2}},
        {"options": {"transform.0.size": 24}},
        {"options": {"fraction": 0.5}},
        {"seed": 1},
        {"limit": 4},
        {"arch": "resnet18-w16"},
        {"extraction": Extraction(device="cpu", dtype="bf16")},
    ],
    ids=str,
)
def test_what_moves_a_training_changes_its_key(
    name: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    assert key_of(name, tmp_path, **changed) != key_of(name, tmp_path)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"train_cfg.val_interval": 3}},
        {"options": {"default_hooks.logger.interval": 3}},
        {"options": {"train_dataloader.num_workers": 3}},
        {"options": {"model.chunk": 3}},
        {"extraction": Extraction(device="cpu", workers=2, batch_size=3)},
        {"work_dir": Path("elsewhere")},
        {"resume": True},
        {"name": "another"},
    ],
    ids=str,
)
def test_what_cannot_move_a_training_leaves_its_key(
    name: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    assert key_of(name, tmp_path, **changed) == key_of(name, tmp_path)


@pytest.mark.parametrize("name", TRAINED)
def test_changed_images_change_the_key(name: str, tmp_path: Path) -> None:
    before = key_of(name, tmp_path)
    (tmp_path / "images" / "val" / "class0" / "0.png").unlink()
    assert key_of(name, tmp_path) != before
