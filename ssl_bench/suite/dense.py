"""Plans of detection and segmentation: a recipe that fits backbone and data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ssl_bench.backbones import Backbone
from ssl_bench.config import options_config
from ssl_bench.data import dense
from ssl_bench.data.dense import DenseSplit
from ssl_bench.errors import BenchError, ConfigError, DataError, UsageError, unknown
from ssl_bench.features import resolve_device
from ssl_bench.progress import note
from ssl_bench.suite.request import (
    Plan,
    Request,
    default_dataset,
    model_name,
    open_backbone,
)

_SHOWN = 5


def plan_dense(
    request: Request, protocol: ModuleType, backbone: Backbone | None = None
) -> Plan:
    """Resolve a request for a protocol that trains detectors or segmentors.

    Args:
        request: what was asked for.
        protocol: its module.
        backbone: the backbone, where another protocol has loaded it already.

    Raises:
        BenchError: for whatever is missing or wrong.
    """
    name = str(protocol.PROTOCOL)
    _check(request, name)
    from ssl_bench.openmmlab import datasets, fitting, reading, recipe, stack

    stack.require(name)
    resolve_device(request.extraction.device)
    wrong = request.extraction.complaints()
    if wrong:
        raise ConfigError(wrong)
    options = dict(request.options)
    config, where, path = None, "", Path()
    if request.config is not None:
        where, path = reading.resolve(request.config, name)
        config = _read(name, path, where, options)
    dataset_name = (
        str(request.dataset or config.get("dataset") or protocol.DATASET)
        if config is not None
        else default_dataset(request, protocol)
    )
    if dataset_name not in dense.names(name):
        raise ConfigError(
            [unknown(f"data set of {name}", dataset_name, dense.names(name))]
        )
    model = backbone or open_backbone(request, config or options_config(options))
    if config is None:
        kind = fitting.kind_of(model)
        where = reading.fitting_recipe(name, dataset_name, kind)
        path = reading.recipes(name)[where]
        config = _read(name, path, where, options)
    # What a plan asks of a split, these have too.
    splits: Any = _open(name, dataset_name, request)
    changed = recipe.keyed_options(request.options)
    if datasets.leave_out_masks(config, splits):
        note(f"{dataset_name} has boxes only: {where} without its mask head")
        changed = (*changed, "no mask head")
    fitted = fitting.fit(config, model, len(splits["train"].classes), where)
    datasets.enter(fitted, splits, where)
    short = "" if request.short == 1 else f"_short-{request.short:g}"
    return Plan(
        protocol=protocol,
        config=config,
        config_name=f"{where}{short}",
        settings=recipe.DenseRecipe(
            name=where,
            config=config,
            fitted=fitted,
            changed=changed,
            shipped=path == reading.recipes(name).get(where),
            short=request.short,
            trained=_digest(request.trained),
        ),
        backbone=model,
        name=request.name or model_name(request, model),
        dataset_name=dataset_name,
        dataset=splits,
        given={},
        transform=(),
    )


def _read(name: str, path: Path, where: str, options: Mapping[str, Any]) -> Any:
    from ssl_bench.openmmlab import overrides, reading

    wrong = overrides.complaints(reading.read_recipe(path, {}), options, where)
    if wrong:
        raise ConfigError(wrong)
    config = reading.read_recipe(path, options)
    wrong = reading.complaints(config, where, name)
    if wrong:
        raise ConfigError(wrong)
    return config


def _check(request: Request, name: str) -> None:
    if request.features is not None:
        raise UsageError(f"{name} trains on images, not on features")
    if request.extraction.on_bad_image != "error":
        raise UsageError(
            f"{name} cannot train around unreadable images: repair or remove them, "
            "and leave out --on-bad-image"
        )
    if request.grid or request.sweep is not None:
        raise UsageError(f"{name} has neither grid nor sweep")
    if not 0 < request.short <= 1:
        raise UsageError(
            f"--short {request.short:g} is not above 0 and at most 1; write the part "
            "of the schedule to train, as in --short 0.1"
        )


def _open(kind: str, name: str, request: Request) -> dict[str, DenseSplit]:
    splits = dense.open_splits(kind, name, request.data_root, request.seed)
    if request.limit is not None:
        splits = {role: s.limited(request.limit) for role, s in splits.items()}
    found = []
    for split in splits.values():
        if request.data_root is not None or not split.bundled:
            found += [f"{split.split}: {text}" for text in dense.check(split)]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(f"{name}: {'; '.join(found[:_SHOWN])}{more}")
    return splits


def _digest(trained: Path | None) -> str:
    if trained is None:
        return ""
    try:
        with trained.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(
            f"--test-only {trained} cannot be read: {error.strerror or error}; name "
            "the checkpoint of a trained detector or segmentor"
        ) from error
