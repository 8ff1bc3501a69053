"""From a request to a plan: config, settings, backbone and data, all checked."""

from __future__ import annotations

from pathlib import Path

from ssl_bench import data
from ssl_bench.backbones import Backbone
from ssl_bench.config import build_settings, key_complaints, read_config
from ssl_bench.data import transforms
from ssl_bench.errors import BenchError, ConfigError, UsageError, unknown
from ssl_bench.features import read_folder, resolve_device
from ssl_bench.protocols import get_protocol, is_dense, trains
from ssl_bench.resources import config_names, find_config
from ssl_bench.suite.dense import plan_dense
from ssl_bench.suite.images import (
    asked_transform,
    check_labels,
    open_splits,
    takes_several,
    transform_complaints,
    usual_transform,
)
from ssl_bench.suite.request import (
    Plan,
    Request,
    check_request,
    default_dataset,
    model_name,
    open_backbone,
)
from ssl_bench.suite.training import plan_training


def plan_evaluation(
    request: Request, protocol_name: str, backbone: Backbone | None = None
) -> Plan:
    """Resolve a request for one protocol.

    Args:
        request: what was asked for.
        protocol_name: which protocol.
        backbone: the backbone, where another protocol has loaded it already.

    Raises:
        BenchError: for whatever is missing or wrong; complaints about the config come
            all together.
    """
    protocol = get_protocol(protocol_name)
    check_request(request)
    if is_dense(protocol):
        return plan_dense(request, protocol, backbone)
    if request.short != 1 or request.trained is not None:
        raise UsageError(f"{protocol_name} takes neither short nor trained")
    if trains(protocol):
        return plan_training(request, protocol, backbone)
    _check_frozen(request, protocol_name)
    dataset_name = default_dataset(request, protocol)
    path = _config_path(request, protocol_name, dataset_name)
    config = read_config(path, request.options, protocol.Settings)
    where = path.stem
    complaints = key_complaints(config, where, protocol.Settings)
    settings, more = build_settings(
        protocol.Settings, config.get("settings", {}), where
    )
    complaints += more
    dataset_name = request.dataset or config.get("dataset", dataset_name)
    if config.get("protocol", protocol_name) != protocol_name:
        complaints.append(
            f"{where}: it is a config of {config.protocol!r}, not of {protocol_name!r}"
        )
    if not request.features and dataset_name not in data.names():
        said = unknown("data set", dataset_name, data.names())
        complaints.append(said if request.dataset else f"{where}: {said}")
    complaints += request.extraction.complaints()
    resolve_device(request.extraction.device)
    transform = config.get("transform")
    asked = transform
    if asked is None and not complaints:  # broken settings ask for nothing
        asked = asked_transform(protocol, settings)
    if asked is not None:
        complaints += transform_complaints(asked)
    if complaints:
        raise ConfigError(complaints)
    if hasattr(protocol, "complete"):
        settings = protocol.complete(settings)

    if request.features is not None:
        return Plan(
            protocol=protocol,
            config=config,
            config_name=where,
            settings=settings,
            backbone=None,
            name=request.name or request.features.resolve().name,
            dataset_name=request.dataset or "given",
            dataset={},
            given=read_folder(request.features),
            transform=(),
        )
    # The backbone first: a wrong checkpoint must not cost the making of the scenes.
    model = backbone or open_backbone(request, config)
    dataset = open_splits(
        dataset_name,
        request.data_root,
        request.limit,
        request.seed,
        several=takes_several(protocol),
    )
    check_labels(protocol, dataset)
    spec = (
        usual_transform(protocol, settings, dataset["train"], model.input.size)
        if transform is None
        else transforms.resolve(transform)
    )
    return Plan(
        protocol=protocol,
        config=config,
        config_name=where,
        settings=settings,
        backbone=model,
        name=request.name or model_name(request, model),
        dataset_name=dataset_name,
        dataset=dataset,
        given={},
        transform=spec,
    )


def _check_frozen(request: Request, protocol: str) -> None:
    """Refuse what only training protocols take."""
    asked = {
        "sweep": request.sweep is not None,
        "grid": request.grid,
        "resume": request.resume,
        "deterministic": request.deterministic,
    }
    for name, given in asked.items():
        if given:
            raise UsageError(
                f"{protocol} trains no network: leave out {name}; it always goes on "
                "where it was stopped"
            )


def _config_path(request: Request, protocol: str, dataset: str) -> Path:
    """Return the config that was asked for, or the one that fits the data set."""
    if request.config is not None:
        return find_config(request.config)
    known = config_names()
    for name in (f"{protocol}_{dataset}", f"{protocol}_folder"):
        if name in known:
            return known[name]
    raise BenchError(
        f"no config of {protocol} fits {dataset}; pass one of: "
        f"{', '.join(name for name in known if name.startswith(protocol))}"
    )
