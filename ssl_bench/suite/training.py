"""Plans of the protocols that train: a recipe, its data, and where the run is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ssl_bench import data
from ssl_bench.backbones import Backbone
from ssl_bench.config import options_config, read_config
from ssl_bench.data import ImageDataset, subset_lists, subsets, transforms
from ssl_bench.errors import ConfigError, DataError, UsageError, nearest, unknown
from ssl_bench.features import resolve_device
from ssl_bench.progress import note
from ssl_bench.protocols import trains
from ssl_bench.resources import config_names, find_config
from ssl_bench.results.record import Identity
from ssl_bench.results.schema import safe_name
from ssl_bench.suite.images import check_labels, open_splits, transform_complaints
from ssl_bench.suite.request import (
    Plan,
    Request,
    default_dataset,
    model_name,
    open_backbone,
)
from ssl_bench.training.choice import fitting_config
from ssl_bench.training.names import known_config, known_names
from ssl_bench.training.recipe import Recipe, complaints, keyed_options, read_sweep


def plan_training(
    request: Request, protocol: ModuleType, backbone: Backbone | None = None
) -> Plan:
    """Resolve a request for a protocol that trains.

    Args:
        request: what was asked for.
        protocol: its module.
        backbone: the backbone, where another protocol has loaded it already.

    Raises:
        BenchError: for whatever is missing or wrong; complaints about the config come
            all together.
    """
    name = str(protocol.PROTOCOL)
    if request.features is not None:
        raise UsageError(
            f"{name} trains on images, not on features: leave out --features, or run "
            "ssl-bench probe --features DIR"
        )
    if request.extraction.on_bad_image != "error":
        raise UsageError(
            f"{name} cannot train around unreadable images: repair or remove them, "
            "and leave out --on-bad-image"
        )
    resolve_device(request.extraction.device)
    path, overrides, asked = Path(), dict(request.options), dict(request.options)
    model, chosen = backbone, ""
    if request.config is not None:
        path, chosen, overrides = _named(request.config, overrides)
        config = read_config(path, overrides)
        wrong = _complaints(config, chosen, name, request)
        if wrong:
            raise ConfigError(wrong)
        dataset_name = str(request.dataset or config.dataset)
        model = model or open_backbone(request, config)
        splits = _open(dataset_name, request, protocol)
    else:
        dataset_name = default_dataset(request, protocol)
        _check_dataset(dataset_name)
        model = model or open_backbone(request, options_config(overrides))
        splits = _open(dataset_name, request, protocol)
        fraction = overrides.get("fraction")
        part = float(fraction) if isinstance(fraction, int | float) else None
        images = len(splits["train"])
        chosen = fitting_config(
            name,
            dataset_name,
            model.arch,
            fraction=part,
            images=images,
        )
        path = config_names()[chosen]
        config = read_config(path, overrides)
        if part is not None:
            del asked["fraction"]  # it has chosen the recipe, which says the same
        wrong = _complaints(config, chosen, name, request)
        if wrong:
            raise ConfigError(wrong)
    spec = (
        transforms.default_spec(splits["test"].transform_name, model.input.size)
        if config.get("transform") is None
        else transforms.resolve(_plain_transform(config.transform))
    )
    _match_sizes(config, spec)
    recipe = Recipe(
        name=chosen,
        config=config,
        changed=keyed_options(asked),
        shipped=path == config_names().get(path.stem),
        sweep=_sweep(request, config),
        all_cells=request.grid,
    )
    if config.get("fraction"):
        splits["train"] = _part(splits["train"], config, request.seed)
    if request.limit is not None:
        splits = {
            role: split.subset(request.limit, request.seed)
            for role, split in splits.items()
        }
    return Plan(
        protocol=protocol,
        config=config,
        config_name=chosen,
        settings=recipe,
        backbone=model,
        name=request.name or model_name(request, model),
        dataset_name=dataset_name,
        dataset=splits,
        given={},
        transform=spec,
    )


def work_dir_of(request: Request, plan: Plan, identity: Identity) -> Path | None:
    """Return where a run is kept: what was asked for, or a place of its own."""
    if request.work_dir is not None or not trains(plan.protocol):
        return request.work_dir
    own = f"{safe_name(plan.name)}_{identity.key()[:8]}"
    return request.runs / plan.config_name / own


def _named(name: str, options: Mapping[str, Any]) -> tuple[Path, str, dict[str, Any]]:
    """Return the path of a config, its name, and its overrides before the user's."""
    known = known_config(name)
    if known is not None:
        path, overrides = known
        return path, name.removesuffix(".py"), {**overrides, **options}
    close = nearest(name, known_names())
    if close and name not in config_names() and not Path(name).exists():
        shipped = nearest(name, config_names())
        if not shipped:
            raise ConfigError([unknown("config", name, known_names())])
    path = find_config(name)
    return path, path.stem, dict(options)


def _complaints(config: Any, where: str, protocol: str, request: Request) -> list[str]:
    found = complaints(config, where)
    if config.get("protocol", protocol) != protocol:
        found.append(
            f"{where}: it is a config of {config.protocol!r}, not of {protocol!r}"
        )
    dataset = request.dataset or config.get("dataset")
    if dataset not in data.names():
        found.append(f"{where}: {unknown('data set', str(dataset), data.names())}")
    if config.get("transform") is not None:
        wrong = transform_complaints(_plain_transform(config.transform))
        found += [f"{where}: {text}" for text in wrong]
    found += request.extraction.complaints()
    sweep = request.sweep if request.sweep is not None else config.get("sweep")
    found += [f"{where}: {text}" for text in read_sweep(sweep)[1]]
    if request.grid and not config.get("grid"):
        found.append(f"{where} has no grid; leave out --grid, or add grid=dict(lr=...)")
    if request.grid and sweep:
        found.append(f"{where}: a sweep and a grid at once; leave one of them out")
    if sweep and config.get("model", {}).get("frozen") is False:
        found.append(
            f"{where}: a sweep needs a frozen backbone, here the heads would disturb "
            "one another; leave out --sweep"
        )
    return found


def _plain_transform(transform: Any) -> Any:
    if isinstance(transform, str):
        return transform
    return [dict(item) for item in transform]


def _match_sizes(config: Any, spec: transforms.Spec) -> None:
    """Let training images end in the size of test images, where those have one.

    A recipe's crop is that of the network it was published for; a network of another
    size would train on images that it is not tested on, or cannot take.
    """
    operations = _plain_transform(config.train_dataloader.dataset.transform)
    size, own = transforms.output_size(spec), transforms.output_size(operations)
    if size is None or own is None or size == own:
        return
    resize = {
        "type": "Resize",
        "size": list(size),
        "interpolation": "bilinear",
        "antialias": True,
    }
    last = next(
        (i for i, o in enumerate(operations) if o["type"] == "RandomErasing"),
        len(operations),
    )
    operations.insert(last, resize)
    config.train_dataloader.dataset.transform = operations
    note(f"training images are brought to {size[0]} x {size[1]}, as test images are")


def _sweep(request: Request, config: Any) -> dict[str, tuple[float, ...]]:
    asked = request.sweep if request.sweep is not None else config.get("sweep")
    return read_sweep(asked)[0]


def _check_dataset(name: str) -> None:
    if name not in data.names():
        raise ConfigError([unknown("data set", name, data.names())])


def _open(name: str, request: Request, protocol: ModuleType) -> dict[str, ImageDataset]:
    splits = open_splits(name, request.data_root, None, request.seed)
    check_labels(protocol, splits)
    return splits


def _part(train: ImageDataset, config: Any, seed: int) -> ImageDataset:
    """Return the part of the training images whose labels are used.

    Raises:
        DataError: where the official list is not there, or the part would be empty.
    """
    fraction = float(config.fraction)
    official = config.get("train_list")
    if official and train.name == config.dataset and not train.bundled:
        path = train.root / str(official)
        if not path.is_file():
            raise DataError(
                f"{path} is not there: it lists the images of the published "
                f"{fraction:.0%}; get SimCLR's imagenet_subsets and run "
                f"python tools/prepare_imagenet_subsets.py {train.root}, which also "
                "draws lists of its own"
            )
        if not subset_lists.is_official(path):
            origin = subset_lists.origin_path(path)
            note(f"{path.name} is not the published list: see {origin}")
        return train.select(subsets.read_subset(train, path))
    chosen = train.select(subsets.draw_fraction(train.targets, fraction, seed))
    note(f"{len(chosen)} of {len(train)} training images, drawn from seed {seed}")
    return chosen
