"""Every shipped config: loads, says what it is, restates no default."""

from __future__ import annotations

import ast
import dataclasses

import pytest

from ssl_bench import data
from ssl_bench.config import build_settings, key_complaints, read_config
from ssl_bench.protocols import get_protocol
from ssl_bench.resources import config_names, find_dir

CONFIGS = config_names()
TRAINING = ("linear", "semi", "finetune", "detect", "segment")
FROZEN = [name for name in CONFIGS if CONFIGS[name].parent.name not in TRAINING]
"""Recipes of training protocols are in test_training_configs.py."""


@pytest.mark.parametrize("name", FROZEN)
def test_config_is_whole(name: str) -> None:
    config = read_config(CONFIGS[name])
    protocol = get_protocol(config.protocol)
    assert key_complaints(config, name, protocol.Settings) == []
    settings, complaints = build_settings(
        protocol.Settings, config.get("settings", {}), name
    )
    assert complaints == []
    assert dataclasses.is_dataclass(settings)
    assert config.dataset in data.names()


@pytest.mark.parametrize("name", FROZEN)
def test_name_tells_the_truth(name: str) -> None:
    config = read_config(CONFIGS[name])
    # What a config changes of its protocol may stand behind: svm_voc07_fair.
    head, variant = f"{config.protocol}_{config.dataset}", config.get("settings", {})
    assert name in (head, f"{head}_{variant.get('variant')}")
    assert CONFIGS[name].parent.name == config.protocol


@pytest.mark.parametrize("name", FROZEN)
def test_config_restates_no_default(name: str) -> None:
    config = read_config(CONFIGS[name])
    defaults = get_protocol(config.protocol).Settings()
    for field, value in config.get("settings", {}).items():
        assert getattr(defaults, field) != value, f"{field} is the default already"


@pytest.mark.parametrize("name", list(CONFIGS))
def test_docstring_says_command_cost_and_expectation(name: str) -> None:
    text = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    assert text is not None
    assert "ssl-bench " in text
    assert "Cost:" in text
    assert "Expected:" in text


def test_every_protocol_has_a_config_for_every_data_set_it_can_use() -> None:
    for dataset in ("imagenet", "folder", "cifar10", "cifar100", "digit-scenes"):
        assert f"knn_{dataset}" in CONFIGS
        assert f"linear_{dataset}" in CONFIGS
    for dataset in ("imagenet", "folder", "digit-scenes"):
        assert f"finetune_{dataset}" in CONFIGS
        assert f"semi_{dataset}_1pct" in CONFIGS
        assert f"semi_{dataset}_10pct" in CONFIGS


def test_no_two_configs_share_a_name() -> None:
    root = find_dir("configs")
    stems = [
        path.stem
        for path in root.rglob("*.py")
        if "_base_" not in path.parts and not path.stem.startswith("_")
    ]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    assert twice == []
    assert len(CONFIGS) == len(stems)
