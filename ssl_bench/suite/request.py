"""From what the user asked for to what will be run: every choice made and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ssl_bench.backbones import Backbone
from ssl_bench.checkpoints import load_backbone, undecided
from ssl_bench.data import ImageDataset
from ssl_bench.errors import UsageError
from ssl_bench.features import Extraction, Features
from ssl_bench.progress import note
from ssl_bench.protocols import is_dense
from ssl_bench.resources import find_dir
from ssl_bench.results.references import load_references

BUNDLED_MODEL = "digit-scenes_resnet18-w24"
BUNDLED_DATASET = "digit-scenes"


@dataclass(frozen=True)
class Request:
    """Hold what the user asked for, before anything is looked up.

    Attributes:
        pretrain: a checkpoint, a directory of ``epoch_*.pth``, ``none`` for random
            initialisation, or None for the bundled backbone.
        config: path or bare name of a config; None chooses the fitting one.
        dataset: name of the data set; None takes the protocol's own.
        data_root: where it is; None looks below ``$SSL_BENCH_DATA`` and ``data/``.
        features: folder of given features, instead of a backbone.
        options: overrides of config fields, dotted.
        sweep: learning rates (``lr``) and weight decays (``wd``) that heads of a
            training protocol try.
        grid: run every cell of a recipe's grid.
        resume: go on with a training run from its last checkpoint.
        deterministic: ask for deterministic kernels in training.
        runs: takes the training runs that name no ``work_dir``.
        short: the part of a detection or segmentation schedule that is trained.
        trained: a trained detector or segmentor that is only tested.
    """

    pretrain: str | None = None
    config: str | None = None
    arch: str | None = None
    name: str | None = None
    dataset: str | None = None
    data_root: Path | None = None
    features: Path | None = None
    work_dir: Path | None = None
    extraction: Extraction = field(default_factory=Extraction)
    seed: int = 0
    limit: int | None = None
    encoder: str | None = None
    layout: str | None = None
    prefix: str | None = None
    allow_partial: bool = False
    verify_data: bool = False
    rerun: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None
    grid: bool = False
    resume: bool = False
    deterministic: bool = False
    runs: Path = Path("work_dirs")
    short: float = 1.0
    trained: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Hold one evaluation with every choice made.

    Attributes:
        protocol: its module.
        config_name: the config in use.
        dataset_name: of the data set, or a label for given features.
        dataset: one split per role; empty with given features.
    """

    protocol: ModuleType
    config: Any
    config_name: str
    settings: Any
    backbone: Backbone | None
    name: str
    dataset_name: str
    dataset: Mapping[str, ImageDataset]
    given: Mapping[str, Features]
    transform: Sequence[Mapping[str, Any]]


def open_backbone(request: Request, config: Any = None) -> Backbone:
    """Load the backbone that the request names; the bundled one where it names none."""
    custom = (config or {}).get("backbone")
    producer = (config or {}).get("producer")
    if request.pretrain is None:
        if custom is not None or request.arch is not None:
            raise UsageError(
                "an architecture was named but no weights; pass --pretrain CHECKPOINT, "
                "or --pretrain none for random initialisation"
            )
        path = bundled_checkpoint()
        # Our own script trained it on torchvision's network: nothing is left open.
        return load_backbone(path, producer="torchvision")
    return load_backbone(
        request.pretrain,
        arch=request.arch,
        encoder=request.encoder,
        layout=request.layout,
        prefix=request.prefix,
        producer=None if producer is None else str(producer),
        allow_partial=request.allow_partial,
        seed=request.seed,
        custom=None if custom is None else dict(custom),
    )


def bundled_checkpoint() -> Path:
    """Return the path of the bundled backbone."""
    return find_dir("bundled") / f"{BUNDLED_MODEL}.pth"


def model_name(request: Request, backbone: Backbone) -> str:
    """Return the model's name in tables when the user gave none.

    A known sha256 gives the published config's name. A file that carries the first
    eight hex digits of its own sha256 at the end of its name was published under that
    name: those digits and the date before them go. Any other file is called by its
    folder and stem.
    """
    if request.pretrain is None:
        return BUNDLED_MODEL
    if request.pretrain == "none":
        return f"random_{backbone.arch}"
    weights = backbone.weights
    path = Path(request.pretrain)
    if weights is not None and path.is_dir():
        path = path / weights.source
    if weights is not None:
        known = load_references().config_of("", weights.sha256)
        if known is not None:
            return known
    *_, last = path.stem.replace("-", "_").split("_")
    if weights is not None and len(last) == 8 and weights.sha256.startswith(last):
        stem = path.stem[: -len(last) - 1]
        head, _, date = stem.rpartition("_")
        return head if len(date) == 8 and date.isdigit() else stem
    return f"{path.resolve().parent.name}_{path.stem}".lstrip("_")


def say_defaults(request: Request, plan: Plan) -> None:
    """Tell the user what was chosen for them."""
    if request.features is None and request.pretrain is None:
        what = "the bundled backbone"
        if request.dataset is None and request.config is None:
            what += " on the bundled scenes; pass --pretrain CHECKPOINT for your own"
        note(f"no --pretrain: evaluating {what}")
    if plan.backbone is not None:
        say_loaded(plan.backbone)
    if request.config is None and plan.dataset:
        note(f"config: {plan.config_name}")
    if is_dense(plan.protocol):
        splits = ", ".join(f"{s.split} {len(s)}" for s in plan.dataset.values())
        note(f"data set: {plan.dataset_name}, images: {splits}")
    elif plan.transform is not None and plan.dataset:
        steps = ", ".join(_step(item) for item in plan.transform) or "native size"
        note(f"data set: {plan.dataset_name}, images: {steps}")


def say_loaded(backbone: Backbone) -> None:
    """Tell the user which weights were taken, and who else could have written them."""
    weights = backbone.weights
    if weights is None:
        return
    note(
        f"loaded {weights.source}: {weights.arch}, layout {weights.layout}, "
        f"{weights.encoder}, {weights.coverage.matched} tensors"
        f"{', IN PART' if weights.partial else ', all filled'}"
    )
    if weights.alternatives:
        note(undecided(weights))


def load_warnings(backbone: Backbone | None) -> tuple[str, ...]:
    """Return what a record and its reader have to know of the weights."""
    weights = None if backbone is None else backbone.weights
    if weights is None:
        return ()
    found = []
    if weights.partial:
        missing, left = len(weights.coverage.missing), len(weights.coverage.unexpected)
        parts = [f"{missing} tensors are missing"] if missing else []
        parts += [f"{left} keys have no place"] if left else []
        found.append(f"loaded in part: {', '.join(parts) or 'as it was extracted'}")
    if weights.coverage.untrained:
        found.append("the weights look untrained: every norm is as it was initialised")
    return tuple(found)


def _step(item: Mapping[str, Any]) -> str:
    shown = ("size", "interpolation")
    values = [str(item[key]) for key in shown if key in item]
    return f"{item['type']} {' '.join(values)}".strip()


def check_request(request: Request) -> None:
    """Refuse a request that contradicts itself, before anything is looked up."""
    if request.pretrain is not None and not request.pretrain.strip():
        raise UsageError("--pretrain is empty; name a checkpoint, or leave it out")
    if request.features is not None and request.pretrain is not None:
        raise UsageError(
            "--features takes the place of a backbone; leave out --pretrain or "
            "--features"
        )
    if request.pretrain == "none" and request.arch is None and not request.options:
        raise UsageError(
            "--pretrain none needs an architecture; pass --arch, e.g. --arch resnet50"
        )
    reading = {
        "--encoder": request.encoder,
        "--format": request.layout,
        "--prefix": request.prefix,
        "--allow-partial": request.allow_partial or None,
        "producer": request.options.get("producer"),
    }
    given = [name for name, value in reading.items() if value is not None]
    if request.pretrain == "none" and given:
        raise UsageError(f"--pretrain none reads no file: leave out {', '.join(given)}")
    if request.name is not None and not request.name.strip():
        raise UsageError("--name is empty; write the model's name, or leave it out")
    if not 0 <= request.seed < 2**32:
        raise UsageError(f"--seed {request.seed} is not between 0 and 4294967295")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit} is not 1 or more")


def default_dataset(request: Request, protocol: ModuleType) -> str:
    """Return the data set that was asked for, or the one that is taken instead."""
    if request.dataset is not None:
        return request.dataset
    if request.pretrain is None and request.features is None:
        return BUNDLED_DATASET
    return str(protocol.DATASET)
