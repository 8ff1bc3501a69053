"""What the command line and the machine say, brought into a recipe.

Pure: a recipe and facts in, the config that mmengine runs out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ssl_bench.errors import ConfigError

_BEST = {
    "CocoPrecision": "coco/bbox_AP",
    "VocPrecision": "pascal_voc/AP50",
    "ClassIoU": "mIoU",
}
"""What `best` means for a checkpoint, by metric; reported is the last."""


@dataclass(frozen=True)
class Facts:
    """Hold what a recipe cannot know.

    Attributes:
        processes: that train together.
        device: ``cpu`` or ``cuda``.
        dtype: ``fp32``, or ``bf16`` and ``fp16`` for mixed precision.
        workers: that read images, of each process; None for the recipe's.
        seed: of every draw.
        deterministic: ask for deterministic kernels.
        short: the part of the schedule that is trained; 1 for all of it.
        work_dir: where checkpoints and logs go.
    """

    processes: int
    device: str
    dtype: str
    workers: int | None
    seed: int
    deterministic: bool
    short: float
    work_dir: str


@dataclass(frozen=True)
class Applied:
    """Hold the config that is run, and what became of the recipe's numbers.

    Attributes:
        config: mmengine's.
        batch: images of one step, over all processes.
        base_batch: the recipe's.
        lr: the learning rate of that batch.
        notes: what was changed because of the machine, for the user.
        sync: whether every batch norm is to see the batches of all processes.
    """

    config: Any
    batch: int
    base_batch: int
    lr: float
    notes: tuple[str, ...]
    sync: bool

    def facts(self) -> dict[str, Any]:
        """Return them for the record."""
        return {
            "recipe_batch": self.base_batch,
            "batch": self.batch,
            "lr": self.lr,
            "changed": list(self.notes),
        }


def apply(recipe: Any, facts: Facts, where: str) -> Applied:
    """Return the config that mmengine runs; the recipe stays as it is.

    A process takes the recipe's images of one GPU. Where that makes another batch than
    the recipe's, the learning rate follows linearly, and whatever is counted in
    iterations inversely, so that as many images are seen.

    Args:
        recipe: model and data sets already in place.
        facts: machine and command line.
        where: the recipe's name, for messages.

    Raises:
        ConfigError: for numbers that cannot be.
    """
    config = copy.deepcopy(recipe)
    per_process = config.train_dataloader.get("batch_size")
    base = config.get("auto_scale_lr", {}).get("base_batch_size")
    for name, value, hint in (
        ("train_dataloader.batch_size", per_process, "images of a process, as in 2"),
        (
            "auto_scale_lr.base_batch_size",
            base,
            "the recipe's images of a GPU times its GPUs, as in 16",
        ),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                [
                    f"{where}: {name}={value!r} is not a whole number of 1 or more: "
                    f"{hint}"
                ]
            )
    if not 0 < facts.short <= 1:
        raise ConfigError([f"--short {facts.short:g} is not above 0 and at most 1"])
    batch = per_process * facts.processes
    ratio = batch / base
    optimizer = config.optim_wrapper.optimizer
    notes = []
    if batch != base:
        optimizer.lr *= ratio
        notes.append(
            f"batch {batch} instead of {base}: learning rate {optimizer.lr:g}, "
            f"iterations times {1 / ratio:g}"
        )
    _scale_schedule(config, 1 / ratio, facts.short)
    if facts.short != 1:
        notes.append(f"{facts.short:g} of the schedule (--short)")
    sync = _norms(config, facts, notes)
    _precision(config, facts)
    _runtime(config, facts)
    return Applied(config, batch, base, float(optimizer.lr), tuple(notes), sync)


def _scale_schedule(config: Any, times: float, short: float) -> None:
    """Stretch what counts iterations, and cut the whole."""

    def iterations(value: float) -> int:
        return max(1, round(value * times * short))

    train = config.train_cfg
    if "max_iters" in train:
        train.max_iters = iterations(train.max_iters)
        interval = iterations(train.get("val_interval", train.max_iters))
        train.val_interval = min(interval, train.max_iters)
    else:
        epochs = train.max_epochs * short
        if epochs < 1:
            raise ConfigError(
                [
                    f"--short {short:g} of {train.max_epochs} epochs is less than one; "
                    f"the least is {math.ceil(1e4 / train.max_epochs) / 1e4:g}"
                ]
            )
        train.max_epochs = round(epochs)
        train.val_interval = min(train.get("val_interval", 1), train.max_epochs)
    for part in _schedulers(config):
        by_epoch = part.get("by_epoch", True)
        for key in ("begin", "end", "T_max"):
            if part.get(key):
                part[key] = (
                    max(1, round(part[key] * short))
                    if by_epoch
                    else iterations(part[key])
                )
        if "milestones" in part:
            part.milestones = [
                max(1, round(m * short)) if by_epoch else iterations(m)
                for m in part.milestones
            ]
    hook = config.get("default_hooks", {}).get("checkpoint")
    if hook is not None and not hook.get("by_epoch", True):
        own = hook.get("interval")
        hook.interval = (
            min(iterations(own), train.max_iters) if own else train.val_interval
        )


def _schedulers(config: Any) -> list[Any]:
    found = config.get("param_scheduler") or []
    return list(found) if isinstance(found, list | tuple) else [found]


def _norms(config: Any, facts: Facts, notes: list[str]) -> bool:
    """Take plain batch norms where synchronised ones cannot run."""
    found = [part for part in _dicts(config.model) if part.get("type") == "SyncBN"]
    if facts.processes > 1 and facts.device == "cuda":
        return bool(found)  # for the norms of a network of ours
    for part in found:
        part["type"] = "BN"
    if found and facts.processes == 1:
        notes.append("SyncBN is BN in a single process")
    return bool(found) and facts.processes > 1


def _dicts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _dicts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _dicts(inner)


def _precision(config: Any, facts: Facts) -> None:
    if facts.dtype == "fp32":
        return
    if facts.device != "cuda":
        raise ConfigError(
            [
                f"--dtype {facts.dtype} trains in mixed precision, which mmengine does "
                "on a GPU only; leave it out"
            ]
        )
    wrapper = config.optim_wrapper
    wrapper.type = "AmpOptimWrapper"
    wrapper.dtype = {"bf16": "bfloat16", "fp16": "float16"}[facts.dtype]
    if facts.dtype == "fp16":
        wrapper.loss_scale = "dynamic"


def _runtime(config: Any, facts: Facts) -> None:
    config.work_dir = facts.work_dir
    config.randomness = {"seed": facts.seed, "deterministic": facts.deterministic}
    hooks = config.setdefault("default_hooks", {})
    keep = hooks.setdefault("checkpoint", {"type": "CheckpointHook", "interval": 1})
    if keep is not None:  # a user may want none
        keep.setdefault("type", "CheckpointHook")
        keep.setdefault("max_keep_ckpts", 1)
        keep.setdefault("save_best", _BEST.get(config.val_evaluator.type, "auto"))
        keep.setdefault("rule", "greater")
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if facts.workers is not None:
            config[loader].num_workers = facts.workers
        if config[loader].num_workers == 0:
            config[loader].persistent_workers = False
    dist = config.setdefault("env_cfg", {}).setdefault("dist_cfg", {})
    dist["backend"] = "nccl" if facts.device == "cuda" else "gloo"
    config.load_from, config.resume = None, False
