"""A recipe: complaints all at once, what is keyed, and the batch that is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ssl_bench.config import read_config
from ssl_bench.errors import ConfigError
from ssl_bench.training.apply import Applied, Facts, apply
from ssl_bench.training.recipe import Recipe, complaints, keyed_options, read_sweep
from tests.training import small

LR = "optim_wrapper.optimizer.lr"
FACTS = Facts(
    images=100,
    processes=1,
    seed=3,
    deterministic=False,
    work_dir="somewhere",
)


def recipe(
    tmp_path: Path, options: dict[str, Any] | None = None, **more: Any
) -> Recipe:
    path = small.write_config(tmp_path / "recipe.py", "linear", **more)
    return Recipe(name="recipe", config=read_config(path, options))


# -------------------------------------------------------------------------- complaints
def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    config = recipe(
        tmp_path,
        {
            LR: 0,
            "optim_wrapper.optimizer.weight_decay": -1e-4,
            "auto_scale_lr.base_batch_size": 2.5,
            "train_cfg.max_epochs": True,
            "model.hedas": {},
            "model.drop_path": 0.1,
            "lr_config": {"policy": "step"},
        },
    ).config
    told = complaints(config, "mine")
    for words in (
        "optimizer.lr=0 is not above 0",
        "weight_decay=-0.0001 is not 0 or more",
        "base_batch_size=2.5 is not a whole number",
        "max_epochs=True is not a whole number",
        "unknown key of model 'hedas'",
        "a frozen model takes no drop_path",
        "lr_config is a key of older",
    ):
        assert sum(words in text for text in told) == 1, words
    assert len(told) == 7
    assert all(text.startswith("mine") for text in told)


def test_a_config_without_its_parts_is_told_which(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("protocol = 'linear'\n")
    told = complaints(read_config(path), "empty")
    assert told == [
        f"empty has no {key}"
        for key in (
            "model",
            "train_dataloader",
            "optim_wrapper",
            "auto_scale_lr",
            "train_cfg",
        )
    ]


def test_a_sound_recipe_is_not_complained_about(tmp_path: Path) -> None:
    assert complaints(recipe(tmp_path).config, "mine") == []


# ------------------------------------------------------------------------------- sweep
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("lr", "is not dict(lr=[...], wd=[...])"),
        ({"momentum": [0.9]}, "what can be swept is lr and wd"),
        ({"lr": []}, "must be a number above 0"),
        ({"lr": [0.1, 0]}, "must be a number above 0"),
        ({"lr": [float("nan")]}, "must be a number above 0"),
        ({"lr": [True]}, "must be a number above 0"),
        ({"wd": [-1e-4]}, "must be a number 0 or more"),
        ({"wd": ["none"]}, "must be a number 0 or more"),
        ({"lr": [1, 1.0]}, "names a value twice"),
    ],
)
def test_a_wrong_sweep_is_told(values: Any, expected: str) -> None:
    _, (text,) = read_sweep(values)
    assert expected in text


def test_a_sweep_is_read() -> None:
    assert read_sweep(None) == ({}, [])
    assert read_sweep({"lr": 1, "wd": [0, 1e-4]}) == (
        {"lr": (1.0,), "wd": (0.0, 1e-4)},
        [],
    )


# --------------------------------------------------------------------------------- key
MOVES: dict[str, Any] = {
    LR: 0.2,
    "optim_wrapper.optimizer.momentum": 0.8,
    "optim_wrapper.optimizer.type": "Lars",
    "optim_wrapper.clip_grad.max_norm": 1.0,
    "optim_wrapper.accumulative_counts": 2,
    "optim_wrapper.paramwise_cfg.head_lr_mult": 10,
    "auto_scale_lr.base_batch_size": 16,
    "auto_scale_lr.enable": True,
    "train_cfg.max_epochs": 3,
    "train_dataloader.dataset.transform.0.size": 24,
    "model.heads.head.init_std": 0.02,
    "model.heads.head.pooling": "average",
    "model.norm_eval": True,
    "model.label_smoothing": 0.1,
    "param_scheduler": [{"type": "MultiStepLR", "by_epoch": True, "milestones": [1]}],
    "custom_hooks": [{"type": "EMAHook"}],
    "fraction": 0.5,
}
STAYS: dict[str, Any] = {
    "train_dataloader.num_workers": 3,
    "train_dataloader.batch_size": 4,  # the share of a process: the batch is the base
    "train_cfg.val_interval": 2,
    "train_cfg.val_begin": 2,
    "default_hooks.logger.interval": 5,
    "env_cfg.cudnn_benchmark": False,
    "log_processor.window_size": 7,
    "visualizer.type": "Visualizer",
    "val_dataloader.batch_size": 2,
    "model.chunk": 16,
    "arch": "resnet*",
}


@pytest.mark.parametrize("key", MOVES)
def test_what_moves_the_number_is_keyed(key: str, tmp_path: Path) -> None:
    plain = recipe(tmp_path).keyed()
    assert recipe(tmp_path, {key: MOVES[key]}).keyed() != plain


@pytest.mark.parametrize("key", STAYS)
def test_what_cannot_move_it_is_not(key: str, tmp_path: Path) -> None:
    plain = recipe(tmp_path).keyed()
    assert recipe(tmp_path, {key: STAYS[key]}).keyed() == plain


def test_a_scaled_batch_is_keyed(tmp_path: Path) -> None:
    found = [
        recipe(
            tmp_path,
            {"auto_scale_lr.enable": True, "train_dataloader.batch_size": size},
        ).keyed()
        for size in (4, 8)
    ]
    assert found[0] != found[1]


def test_a_sweep_is_keyed_and_a_grid_only_where_it_is_run(tmp_path: Path) -> None:
    plain = recipe(tmp_path, {"grid.lr": [0.1, 0.01], "grid.head_lr_mult": [1]})
    assert plain.keyed() == recipe(tmp_path).keyed()
    whole = dataclasses.replace(plain, all_cells=True)
    assert whole.keyed() != plain.keyed()
    swept = dataclasses.replace(plain, sweep={"lr": (0.1,)})
    assert swept.keyed() != plain.keyed()


def test_options_are_noted_as_typed() -> None:
    silent = {key: STAYS[key] for key in STAYS if not key.endswith("batch_size")}
    assert keyed_options({**silent, LR: 0.30, "train_cfg.max_epochs": 5}) == (
        f"{LR}=0.3",
        "train_cfg.max_epochs=5",
    )


# --------------------------------------------------------------------------- the batch
def applied(tmp_path: Path, options: dict[str, Any], **facts: Any) -> Applied:
    asked = recipe(tmp_path, options, batch=24)
    before = asked.config.to_dict()
    found = apply(asked, dataclasses.replace(FACTS, **facts))
    assert asked.config.to_dict() == before, "the recipe stays as it is"
    return found


def test_every_process_takes_its_share_of_the_recipes_batch(tmp_path: Path) -> None:
    found = applied(tmp_path, {"optim_wrapper.accumulative_counts": 2}, processes=3)
    assert (found.batch, found.per_process, found.accumulate) == (24, 8, 2)
    assert found.config.train_dataloader.batch_size == 4
    assert found.lr == 0.1
    assert found.steps == 5  # 100 / 24, the last one short


def test_the_rate_follows_the_batch_where_it_may(tmp_path: Path) -> None:
    options = {"auto_scale_lr.enable": True, "train_dataloader.batch_size": 15}
    found = applied(tmp_path, options, processes=4)
    assert (found.batch, found.per_process, found.steps) == (60, 15, 2)
    assert found.lr == pytest.approx(0.1 * 60 / 24)
    assert found.config.optim_wrapper.optimizer.lr == found.lr


@pytest.mark.parametrize(
    ("options", "facts", "expected"),
    [
        ({}, {"images": 23}, "a batch of 24 is larger than the 23 training images"),
        ({}, {"processes": 5}, "a batch of 24 cannot be shared by 5 processes"),
        (
            {"optim_wrapper.accumulative_counts": 5},
            {"processes": 2},
            "accumulative_counts=5 does not divide the 12 images of a process",
        ),
        (
            {"optim_wrapper.accumulative_counts": 0},
            {},
            "accumulative_counts=0 does not divide the 24 images",
        ),
    ],
)
def test_a_batch_that_cannot_be_had_is_refused(
    options: dict[str, Any], facts: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        applied(tmp_path, options, **facts)
    assert len(error.value.complaints) == 1
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("images", "by_epoch", "interval"),
    [
        (24 * 2000, True, 1),
        # 2,001 iterations in three parts, and 5,000 in five.
        (24 * 2000 + 1, False, 667),
        (24 * 5000, False, 1000),
    ],
)
def test_a_long_epoch_has_checkpoints_within(
    images: int, by_epoch: bool, interval: int, tmp_path: Path
) -> None:
    hook = applied(tmp_path, {}, images=images).config.default_hooks.checkpoint
    assert hook.get("by_epoch", True) is by_epoch
    assert hook.interval == interval
