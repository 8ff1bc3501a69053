"""The published names of the semi-supervised grid resolve to its cells."""

from __future__ import annotations

from itertools import product

import pytest

from ssl_bench.config import read_config
from ssl_bench.resources import config_names
from ssl_bench.training.names import known_config, known_names

# As published: lr 1e-1, 1e-2 and 1e-3, heads 1, 10 and 100, 1 % and 10 %.
RATES = {"1e-1": 0.1, "1e-2": 0.01, "1e-3": 0.001}
DECAYS = {"1pct": 5e-4, "10pct": 1e-4}
CELLS = list(product((1, 10, 100), RATES, DECAYS))


@pytest.mark.parametrize(("head", "rate", "part"), CELLS)
def test_a_known_name_is_its_cell(head: int, rate: str, part: str) -> None:
    name = f"resnet50_head{head}_4xb64-steplr{rate}-20e_in1k-{part}"
    found = known_config(name)
    assert found is not None
    assert found == known_config(f"{name}.py")
    path, overrides = found
    config = read_config(path, overrides)
    wrapper = config.optim_wrapper
    assert wrapper.optimizer.lr == RATES[rate]
    assert wrapper.paramwise_cfg.head_lr_mult == head
    assert wrapper.optimizer.weight_decay == DECAYS[part]
    assert config.fraction == {"1pct": 0.01, "10pct": 0.1}[part]
    assert config.auto_scale_lr.base_batch_size == 4 * 64
    assert config.train_dataloader.batch_size == 64
    assert config.train_cfg.max_epochs == 20
    # A cell of the grid, so that --grid is the nine names.
    assert RATES[rate] in config.grid.lr
    assert head in config.grid.head_lr_mult


def test_the_names_are_the_whole_grid() -> None:
    assert len(CELLS) == 18
    for part in DECAYS:
        name = f"resnet50_4xb64-steplr-20e_in1k-{part}"
        config = read_config(config_names()[name])
        assert set(config.grid.lr) == set(RATES.values())
        assert set(config.grid.head_lr_mult) == {1, 10, 100}


@pytest.mark.parametrize("part", DECAYS)
def test_the_sobel_name_has_one_rate_for_all(part: str) -> None:
    found = known_config(f"resnet50-sobel_4xb64-steplr1e-2-20e_in1k-{part}")
    assert found is not None
    config = read_config(*found)
    assert config.optim_wrapper.optimizer.lr == 0.01
    assert config.optim_wrapper.paramwise_cfg.head_lr_mult == 1
    assert "resnet50-sobel" in config.arch


@pytest.mark.parametrize(
    "name",
    [
        "resnet50_head2_4xb64-steplr1e-1-20e_in1k-1pct",
        "resnet50_head1_4xb64-steplr1e-4-20e_in1k-1pct",
        "resnet50_head1_4xb64-steplr1e-1-20e_in1k-5pct",
        "resnet50_head1_8xb32-steplr1e-1-20e_in1k-1pct",
        "resnet50-sobel_4xb64-steplr1e-1-20e_in1k-1pct",
        "resnet50_4xb64-steplr-20e_in1k-1pct",
        "knn_imagenet",
    ],
)
def test_other_names_are_not_known(name: str) -> None:
    assert known_config(name) is None


def test_the_list_of_names_is_what_resolves() -> None:
    names = known_names()
    assert len(set(names)) == 20
    assert all(known_config(name) is not None for name in names)
    assert not set(names) & set(config_names())
