"""A recipe of detection or segmentation, and what of it moves the number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl_bench.config import plain
from ssl_bench.openmmlab.fitting import pipeline_of

_WHOLE = (
    "model",
    "optim_wrapper",
    "param_scheduler",
    "custom_hooks",
    "backbones",
)
_STILL = (
    "default_hooks",
    "env_cfg",
    "log_processor",
    "log_level",
    "visualizer",
    "vis_backends",
    "randomness",
    "work_dir",
    "load_from",
    "resume",
    "producer",
    "backbone",
    "dataset",
    "default",
    "protocol",
    "test_dataloader",
    "test_evaluator",
    "tta_model",
    "tta_pipeline",
    "train_dataloader.num_workers",
    "train_dataloader.persistent_workers",
    "val_dataloader.num_workers",
    "val_dataloader.persistent_workers",
    "val_dataloader.batch_size",
    "train_cfg.val_interval",
    "train_cfg.val_begin",
)
"""Keys, and what begins with them, that cannot move the number of the last step."""


@dataclass(frozen=True)
class DenseRecipe:
    """Hold the recipe of one training run.

    Attributes:
        name: of the config.
        config: mmengine's, overrides applied, model and data sets as in the file.
        fitted: the same with model and data sets in place.
        changed: overrides that move the number, as the user typed them.
        shipped: whether the config came with this package.
        short: the part of the schedule that is trained.
        trained: sha256 of a trained model that is only tested, or empty.
    """

    name: str
    config: Any
    fitted: Any
    changed: tuple[str, ...] = ()
    shipped: bool = True
    short: float = 1.0
    trained: str = ""

    def keyed(self) -> dict[str, Any]:
        """Return what the number depends on, as plain JSON."""
        config = self.config
        found = {key: plain(config[key]) for key in _WHOLE if config.get(key)}
        train, test = config.train_dataloader, config.val_dataloader
        found["train_pipeline"] = plain(pipeline_of(train.dataset))
        found["test_pipeline"] = plain(pipeline_of(test.dataset))
        found["sampler"] = plain(
            {k: train.get(k) for k in ("sampler", "batch_sampler")}
        )
        found["batch"] = train.batch_size
        found["base_batch"] = config.auto_scale_lr.base_batch_size
        found["length"] = {
            key: config.train_cfg[key]
            for key in ("max_epochs", "max_iters")
            if key in config.train_cfg
        }
        metric = config.val_evaluator
        found["metric"] = {"type": metric.type, "mode": metric.get("eval_mode")}
        if self.short != 1:
            found["short"] = self.short
        if self.trained:
            found["trained"] = self.trained
        return found

    def deviations(self) -> tuple[str, ...]:
        """Say in what a run leaves the published recipe."""
        own = () if self.shipped else (f"config={self.name}",)
        short = () if self.short == 1 else (f"short={self.short:g}",)
        return (*own, *self.changed, *short)


def keyed_options(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the overrides that move the number, as they were typed."""
    return tuple(
        f"{key}={value}"
        for key, value in options.items()
        if not any(key == still or key.startswith(f"{still}.") for still in _STILL)
    )
