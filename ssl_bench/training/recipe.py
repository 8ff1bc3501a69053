"""A training protocol's config, checked, and what of it moves the number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_bench.config import plain
from ssl_bench.data import transforms
from ssl_bench.training.heads import HeadSpec, read_head
from ssl_bench.training.keys import era_complaints, key_complaints

_UNKEYED = (
    "default_hooks",
    "env_cfg",
    "log_processor",
    "visualizer",
    "default_scope",
    "randomness",
    "val_dataloader",
    "producer",
    "backbone",
    "custom_imports",
    "arch",
    "default",
    "protocol",
    "dataset",
    "transform",
)
"""Top-level keys that are kept elsewhere in a record, or cannot move a number."""

_MODEL_KEYS = (
    "type",
    "frozen",
    "heads",
    "chunk",
    "norm_eval",
    "drop_path",
    "label_smoothing",
    "mixing",
)
_MIXING_KEYS = ("mixup", "cutmix", "prob", "switch_prob")
_SWEPT = ("lr", "wd")


@dataclass(frozen=True)
class Recipe:
    """Hold the config of one training run.

    Attributes:
        name: of the config.
        config: mmengine's, overrides applied.
        changed: overrides that move the number, as the user typed them.
        shipped: whether the config came with this package.
        sweep: learning rates and weight decays that heads of their own try; empty where
            there is one head of each.
        all_cells: whether every cell of the config's grid is run.
    """

    name: str
    config: Any
    changed: tuple[str, ...] = ()
    shipped: bool = True
    sweep: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    all_cells: bool = False

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it is."""
        return bool(self.config.model.frozen)

    @property
    def base_batch(self) -> int:
        """The recipe's global batch."""
        return int(self.config.auto_scale_lr.base_batch_size)

    @property
    def lr(self) -> float:
        """The learning rate for that batch."""
        return float(self.config.optim_wrapper.optimizer.lr)

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """The heads by name."""
        found = {}
        for name, values in self.config.model.heads.items():
            head, complaints = read_head(name, values)
            assert head is not None, complaints
            found[name] = head
        return found

    @property
    def train_transform(self) -> tuple[dict[str, Any], ...]:
        """What is done to a training image."""
        return transforms.resolve(plain(self.config.train_dataloader.dataset.transform))

    def keyed(self) -> dict[str, Any]:
        """Return what the number depends on, as plain JSON."""
        found = {
            key: plain(_bare(value))
            for key, value in self.config.items()
            if key not in _UNKEYED
        }
        loader = found.pop("train_dataloader", {})
        found["transform"] = [dict(item) for item in self.train_transform]
        scale = found.pop("auto_scale_lr", {})
        found["batch"] = scale.get("base_batch_size")
        if scale.get("enable"):
            found["scaled_batch"] = loader.get("batch_size")
        found.get("model", {}).pop("chunk", None)
        found.get("optim_wrapper", {}).pop("type", None)
        for key in ("val_interval", "val_begin"):
            found.get("train_cfg", {}).pop(key, None)
        if self.sweep:
            found["sweep"] = plain(dict(self.sweep))
        if not self.all_cells:
            found.pop("grid", None)
        return found

    def deviations(self) -> tuple[str, ...]:
        """Say in what a run leaves the published recipe."""
        own = () if self.shipped else (f"config={self.name}",)
        swept = [f"{k}={','.join(map(_short, v))}" for k, v in self.sweep.items()]
        return (*own, *self.changed, *swept)


def keyed_options(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the overrides that move the number, as they were typed."""
    still = ["train_dataloader.num_workers", "model.chunk"]
    if not options.get("auto_scale_lr.enable"):
        # A process takes its share of the recipe's batch, whatever these say.
        still += ["auto_scale_lr.enable", "train_dataloader.batch_size"]
    return tuple(
        f"{key}={_short(value)}"
        for key, value in options.items()
        if key.split(".")[0] not in _UNKEYED
        and key not in still
        and not key.startswith("train_cfg.val_")
    )


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bare(value: Any) -> Any:
    """Return plain containers in place of mmengine's."""
    if isinstance(value, Mapping):
        return {str(key): _bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value


def complaints(config: Any, where: str) -> list[str]:
    """Return everything that is wrong with a training config.

    Args:
        config: mmengine's, overrides applied.
        where: its name, for messages.
    """
    found = [f"{where}: {text}" for text in era_complaints(config)]
    found += key_complaints(config, where)
    needed = (
        "model",
        "train_dataloader",
        "optim_wrapper",
        "auto_scale_lr",
        "train_cfg",
    )
    missing = [f"{where} has no {key}" for key in needed if key not in config]
    if missing:
        return found + missing
    found += [f"{where}: {text}" for text in _model_complaints(config.model)]
    found += [f"{where}: {text}" for text in _number_complaints(config)]
    transform = config.train_dataloader.get("dataset", {}).get("transform")
    if transform is None:
        found.append(f"{where}: train_dataloader.dataset.transform is not given")
    else:
        found += [f"{where}: {t}" for t in transforms.complaints(plain(transform))]
    return found


def _model_complaints(model: Any) -> list[str]:
    if not hasattr(model, "items") or "heads" not in model or "frozen" not in model:
        return ["model needs frozen=True or False and heads=dict(name=dict(...))"]
    from ssl_bench.errors import unknown

    found = [
        unknown("key of model", k, _MODEL_KEYS) for k in model if k not in _MODEL_KEYS
    ]
    for name, values in model.heads.items():
        found += read_head(name, values)[1]
    if not model.heads:
        found.append("model.heads is empty; name one, as in head=dict(...)")
    for key in model.get("mixing") or {}:
        if key not in _MIXING_KEYS:
            found.append(unknown("key of model.mixing", key, _MIXING_KEYS))
    if model.frozen and (model.get("drop_path") or model.get("mixing")):
        found.append("a frozen model takes no drop_path and no mixing")
    return found


def _number_complaints(config: Any) -> list[str]:
    found = []
    for where, key, kind in (
        ("auto_scale_lr", "base_batch_size", int),
        ("train_dataloader", "batch_size", int),
        ("train_cfg", "max_epochs", int),
    ):
        value = config[where].get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or value < 1:
            found.append(f"{where}.{key}={value!r} is not a whole number of 1 or more")
    fraction = config.get("fraction")
    if fraction is not None and not (isinstance(fraction, float) and 0 < fraction < 1):
        found.append(f"fraction={fraction!r} is not a number between 0 and 1")
    optimizer = config.optim_wrapper.get("optimizer", {})
    for key, least in (("lr", True), ("weight_decay", False)):
        value = optimizer.get(key, 0.0)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or value < 0 or (least and value == 0):
            wanted = "above 0" if least else "0 or more"
            found.append(f"optim_wrapper.optimizer.{key}={value!r} is not {wanted}")
    return found


def read_sweep(values: Any) -> tuple[dict[str, tuple[float, ...]], list[str]]:
    """Read ``lr`` and ``wd`` lists of a sweep.

    Args:
        values: a mapping of names to numbers or lists of them; None for no sweep.

    Returns:
        The lists, and everything that is wrong with them.
    """
    found: dict[str, tuple[float, ...]] = {}
    wrong: list[str] = []
    if values is not None and not isinstance(values, Mapping):
        return found, [f"sweep={values!r} is not dict(lr=[...], wd=[...])"]
    for name, given in (values or {}).items():
        if name not in _SWEPT:
            wrong.append(f"sweep of {name!r}; what can be swept is lr and wd")
            continue
        items: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
        least = "above 0" if name == "lr" else "0 or more"
        bad = [
            item
            for item in items
            if not isinstance(item, int | float)
            or isinstance(item, bool)
            or not (item > 0 or (name == "wd" and item == 0))
        ]
        if bad or not items:
            wrong.append(f"sweep {name}={list(items)}: each must be a number {least}")
        elif len(set(map(float, items))) < len(items):
            wrong.append(f"sweep {name}={list(items)} names a value twice")
        else:
            found[name] = tuple(map(float, items))
    return found, wrong
