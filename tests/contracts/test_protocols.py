"""Every protocol: documented, honest about its metrics, deterministic, keyed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_bench import suite
from ssl_bench.config import keyed_settings
from ssl_bench.protocols import protocols, trains
from ssl_bench.results.record import Record

PROTOCOLS = protocols()
FROZEN = {name: module for name, module in PROTOCOLS.items() if not trains(module)}
"""Those that work on features; tests/training has the contract of the others."""


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
