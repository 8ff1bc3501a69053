"""What the command line and the machine say, brought into a training config."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from ssl_bench.errors import ConfigError
from ssl_bench.training.recipe import Recipe

_LONG_EPOCH = 2000
"""Iterations above which an epoch is too long to lose."""

_BETWEEN = 1000


@dataclass(frozen=True)
class Facts:
    """Hold what a config cannot know.

    Attributes:
        images: of the training split.
        processes: that train together.
        seed: of every draw.
        deterministic: ask for deterministic kernels.
        work_dir: where checkpoints and logs go.
    """

    images: int
    processes: int
    seed: int
    deterministic: bool
    work_dir: str


@dataclass(frozen=True)
class Applied:
    """Hold the config that is run, and how its batch came about.

    Attributes:
        config: mmengine's.
        batch: images of one step, over all processes.
        per_process: images of one step and process.
        accumulate: parts that a process takes its share in.
        lr: learning rate of that batch.
        steps: of an epoch.
    """

    config: Any
    batch: int
    per_process: int
    accumulate: int
    lr: float
    steps: int

    def facts(self, recipe: Recipe) -> dict[str, Any]:
        """Return batch and learning rate, the recipe's beside those of the run."""
        return {
            "recipe_batch": recipe.base_batch,
            "recipe_lr": recipe.lr,
            "batch": self.batch,
            "per_process_batch": self.per_process,
            "accumulate": self.accumulate,
            "lr": self.lr,
            "steps_per_epoch": self.steps,
        }


def apply(recipe: Recipe, facts: Facts) -> Applied:
    """Return the config that mmengine runs; the recipe stays as it is.

    The global batch is the recipe's: each process takes its share. Where
    ``auto_scale_lr.enable`` asks for it, every process takes the recipe's batch of one
    process instead, and the learning rate follows the batch linearly.

    Args:
        recipe: the config with its overrides.
        facts: data, machine and command line.

    Raises:
        ConfigError: where the batch cannot be had.
    """
    config = copy.deepcopy(recipe.config)
    scaled = bool(config.auto_scale_lr.get("enable", False))
    lr = recipe.lr
    if scaled:
        batch = int(config.train_dataloader.batch_size) * facts.processes
        lr *= batch / recipe.base_batch
    else:
        batch = recipe.base_batch
    wrapper = config.optim_wrapper
    accumulate = int(wrapper.get("accumulative_counts", 1))
    wrong = _batch_complaints(recipe, facts, batch, accumulate)
    if wrong:
        raise ConfigError([f"{recipe.name}: {text}" for text in wrong])
    per_process = batch // facts.processes
    steps = math.ceil(facts.images / batch)

    config.train_dataloader.batch_size = per_process // accumulate
    wrapper.optimizer.lr = lr
    wrapper.setdefault("type", "OptimWrapper")
    config.randomness = {
        "seed": facts.seed,
        "deterministic": facts.deterministic,
        "diff_rank_seed": False,
    }
    config.work_dir = facts.work_dir
    config.train_cfg.pop("by_epoch", None)
    config.train_cfg.type = "EpochLoop"
    usual = {"checkpoint": {"type": "CheckpointHook", "interval": 1}}
    # The loop tells the sampler which epoch it is.
    own = {"sampler_seed": None}
    config.default_hooks = {**usual, **(config.get("default_hooks") or {}), **own}
    hooks = config.default_hooks
    iterations = steps * accumulate
    if iterations > _LONG_EPOCH:
        parts = math.ceil(iterations / _BETWEEN)
        hooks.checkpoint.by_epoch = False
        hooks.checkpoint.interval = math.ceil(iterations / parts)
    config.setdefault("param_scheduler", None)
    return Applied(config, batch, per_process, accumulate, lr, steps)


def _batch_complaints(
    recipe: Recipe, facts: Facts, batch: int, accumulate: int
) -> list[str]:
    found = []
    own = int(recipe.config.train_dataloader.batch_size)
    if batch > facts.images:
        found.append(
            f"a batch of {batch} is larger than the {facts.images} training images; "
            "take a recipe for small data (linear_folder, semi_folder_10pct, "
            "finetune_folder), or let the learning rate follow a smaller batch: "
            "--cfg-options auto_scale_lr.enable=True train_dataloader.batch_size="
            f"{max(1, min(own, facts.images // facts.processes))}"
        )
    if batch % facts.processes:
        found.append(
            f"a batch of {batch} cannot be shared by {facts.processes} processes; "
            "start a number of processes that divides it, or let the learning rate "
            "follow the batch: --cfg-options auto_scale_lr.enable=True"
        )
    elif accumulate < 1 or (batch // facts.processes) % accumulate:
        found.append(
            f"optim_wrapper.accumulative_counts={accumulate} does not divide the "
            f"{batch // facts.processes} images of a process"
        )
    return found
