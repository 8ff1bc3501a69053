"""Train a recipe by mmengine's Runner, and return what the last evaluation found."""

from __future__ import annotations

import contextlib
import io
import json
import math
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, DefaultScope

from ssl_bench.backbones import Backbone
from ssl_bench.checkpoints import reader
from ssl_bench.data.dense import DenseSplit, LabelMaps
from ssl_bench.errors import BenchError
from ssl_bench.files import atomic_write_text
from ssl_bench.openmmlab import gate, stack
from ssl_bench.openmmlab.applying import Applied
from ssl_bench.openmmlab.offered import offer_backbone, offer_split
from ssl_bench.progress import note
from ssl_bench.training.batch_norm import synchronise
from ssl_bench.training.checkpoints import CheckpointingRunner
from ssl_bench.training.hooks import Bar, DrawByStep, StepLog, bare
from ssl_bench.training.job import starting_point
from ssl_bench.training.run import forget, own_generators

_SCOPES = {"detect": "mmdet", "segment": "mmseg"}


@dataclass(frozen=True)
class Job:
    """Hold one training run, everything decided.

    Attributes:
        protocol: ``detect`` or ``segment``.
        name: of the recipe.
        applied: the config that is run.
        backbone: the loaded network; stays as it is.
        splits: ``train`` and ``test``.
        device: to train on.
        seed: of every draw.
        work_dir: takes checkpoints and logs.
        identity: of the run, as plain JSON.
        resume: go on from the last whole checkpoint.
        trained: a trained model that is only tested; None to train.
    """

    protocol: str
    name: str
    applied: Applied
    backbone: Backbone
    splits: Mapping[str, DenseSplit]
    device: torch.device
    seed: int
    work_dir: Path
    identity: Mapping[str, Any]
    resume: bool = False
    trained: Path | None = None


@dataclass(frozen=True)
class Found:
    """Hold what a run found.

    Attributes:
        values: metrics of the last evaluation, by OpenMMLab's name, in percent.
        classwise: the same by class, for the main metrics.
        history: metrics by iteration.
        compared: tensors of the backbone that were compared with the checkpoint.
        sheet: the contact sheet's file name.
    """

    values: Mapping[str, float]
    classwise: Mapping[str, Mapping[str, float]]
    history: Mapping[int, Mapping[str, float]]
    compared: int
    sheet: str = ""


def train_and_test(job: Job) -> Found:
    """Train the model, or take a trained one, and evaluate it on the test split.

    Raises:
        BenchError: where the run cannot begin or go on, where the backbone is not what
            was loaded, and where the loss is not finite any more.
    """
    stack.register(job.protocol)
    start = None
    if job.trained is None:
        start = starting_point(job.work_dir, identity=job.identity, resume=job.resume)
    offer_backbone(job.backbone)
    for role, split in job.splits.items():
        if isinstance(split, LabelMaps):
            offer_split(role, split)
    with own_generators(), _quietly():
        return _train_and_test(job, start)


def _train_and_test(job: Job, start: Path | None) -> Found:
    from ssl_bench.openmmlab.sheet import draw

    bar = Bar(f"{job.name} on {job.splits['train'].name}", job.applied.batch)
    placed, kept = PlaceWeights(job.backbone), KeepMetrics(job.work_dir)
    name = f"{job.name}-{uuid.uuid4().hex}"
    try:
        runner = _runner(job, name, start, [placed, kept, bar])
    except _NOT_BUILT as error:
        forget(name)
        raise _unbuildable(job, error) from error
    try:
        if job.trained is None:
            runner.train()
        else:
            _load_trained(runner, job.trained)
        # Every process decides alike: values by class are on the first one only.
        if job.trained is not None or kept.latest != runner.iter:
            runner.val()
        values, metric = kept.history[runner.iter], _metric(runner)
        sheet = draw(runner, job.work_dir)
    except _NOT_BUILT as error:
        if placed.begun or job.trained is not None:
            raise
        raise _unbuildable(job, error) from error
    except torch.cuda.OutOfMemoryError as error:
        raise BenchError(_memory(job, "the GPU is out of memory")) from error
    except MemoryError as error:
        raise BenchError(_memory(job, "there is too little memory")) from error
    except RuntimeError as error:
        if "not enough memory" in str(error):
            raise BenchError(_memory(job, "there is too little memory")) from error
        raise
    finally:
        bar.close()
        forget(name, type(runner.visualizer))
    return Found(
        values={key: float(value) for key, value in values.items()},
        classwise=_classwise(metric),
        history=kept.history,
        compared=placed.compared,
        sheet=sheet,
    )


_NOT_BUILT = (AssertionError, AttributeError, KeyError, TypeError, ValueError)
"""What OpenMMLab's builders raise for arguments that nothing takes."""


def _unbuildable(job: Job, error: Exception) -> BenchError:
    why = " ".join(str(error).split()) or type(error).__name__
    return BenchError(
        f"{job.name} cannot be built: {why}; look at --cfg-options and the config, "
        "--debug shows where"
    )


def _memory(job: Job, what: str) -> str:
    per_process = job.applied.config.train_dataloader.batch_size
    less = max(1, per_process // 2)
    return (
        f"{what} with {per_process} images a process; take fewer: --cfg-options "
        f"train_dataloader.batch_size={less} (learning rate and schedule follow), or "
        "--dtype bf16 on a GPU, or --cfg-options model.backbone.with_cp=True for a "
        "ResNet"
    )


def _runner(
    job: Job, name: str, start: Path | None, hooks: list[Hook]
) -> CheckpointingRunner:
    _, world = get_dist_info()
    config = job.applied.config
    train = config.train_dataloader
    if job.trained is None:
        train = {**train, "dataset": _train_images(job)}
    runner = CheckpointingRunner(
        device=job.device,
        model=config.model,
        work_dir=str(job.work_dir),
        train_dataloader=train,
        val_dataloader=config.val_dataloader,
        train_cfg=config.train_cfg,
        val_cfg=config.get("val_cfg") or {"type": "ValLoop"},
        val_evaluator=config.val_evaluator,
        optim_wrapper=config.optim_wrapper,
        param_scheduler=config.get("param_scheduler"),
        default_hooks={
            **config.default_hooks,
            # A model that is only tested is not written again.
            **({} if job.trained is None else {"checkpoint": None}),
        },
        custom_hooks=[
            DrawByStep(job.seed),
            *hooks,
            StepLog(flush=50),
            StopAtNan(),
            *(config.get("custom_hooks") or ()),
        ],
        launcher="none" if world == 1 else "pytorch",
        env_cfg=config.env_cfg,
        log_processor=config.get("log_processor"),
        visualizer=config.get("visualizer"),
        default_scope=_SCOPES[job.protocol],
        randomness=config.randomness,
        load_from=None if start is None else str(start),
        resume=start is not None,
        experiment_name=name,
        cfg=config,
    )
    if job.applied.sync:
        synchronise(bare(runner.model), job.device.type)
    return runner


def _train_images(job: Job) -> Any:
    """Return the training data set, which the recipe's filter must not have emptied."""
    dataset = None
    with DefaultScope.overwrite_default_scope(_SCOPES[job.protocol]):
        try:
            dataset = DATASETS.build(job.applied.config.train_dataloader.dataset)
        except ValueError as error:
            if "need at least one array" not in str(error):  # numpy's of no image
                raise
    if not dataset:
        raise BenchError(
            f"no image is left of the {len(job.splits['train'])} of "
            f"{job.splits['train'].split}: the recipe leaves out images without boxes "
            "and small ones; label some, or --cfg-options "
            "train_dataloader.dataset.filter_cfg.min_size=1"
        )
    return dataset


class PlaceWeights(Hook):  # type: ignore[misc]
    """Bring the checkpoint into the model before its first step, and prove it.

    Attributes:
        compared: tensors that were compared.
        begun: whether everything was built, and training began.
    """

    priority = "VERY_HIGH"

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.compared = 0
        self.begun = False

    def before_train(self, runner: Any) -> None:
        """Place and compare, where training begins; a resumed model has moved on."""
        self.begun = True
        if runner.iter:
            return
        model = bare(runner.model)
        gate.place(self.backbone, model)
        self.compared = gate.check(self.backbone, model)
        note(
            f"{self.compared} tensors of {self.backbone.arch} are in the model, each "
            "compared with the checkpoint"
        )


class KeepMetrics(Hook):  # type: ignore[misc]
    """Keep what every evaluation found, also over a kill.

    Attributes:
        history: metrics by iteration.
        latest: the iteration of the last evaluation in this process.
    """

    priority = "HIGH"
    FILE = "evaluations.json"

    def __init__(self, work_dir: Path) -> None:
        self.path = work_dir / self.FILE
        self.history: dict[int, dict[str, float]] = {}
        self.latest = -1

    def before_train(self, runner: Any) -> None:
        """Take up the evaluations of the iterations that the model has behind it."""
        if not runner.iter:
            return
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self.path.read_text("utf-8"))
            self.history = {
                int(i): values for i, values in known.items() if int(i) <= runner.iter
            }

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Keep one evaluation."""
        self.latest = runner.iter
        self.history[runner.iter] = {
            # A size that no object has is no number, and a file holds none.
            name: float(value)
            for name, value in (metrics or {}).items()
            if math.isfinite(value)
        }
        if runner.rank == 0:
            atomic_write_text(self.path, json.dumps(self.history, indent=1) + "\n")


class StopAtNan(Hook):  # type: ignore[misc]
    """Stop a training whose loss is no number any more."""

    priority = "HIGH"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look at the loss."""
        del batch_idx, data_batch
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            rate = runner.optim_wrapper.param_groups[0]["lr"]
            raise BenchError(
                f"the loss is {loss} at iteration {runner.iter + 1} with the learning "
                f"rate {rate:g}; lower it, as in --cfg-options "
                f"optim_wrapper.optimizer.lr={rate / 10:g}"
            )


def _load_trained(runner: CheckpointingRunner, path: Path) -> None:
    """Take the tensors of a trained model, read as data and nothing else."""
    with reader.read(path, digest=False) as found:
        tree = found.tree
    state = tree.get("state_dict", tree) if isinstance(tree, Mapping) else {}
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    model = bare(runner.model)
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    strange = [name for name in tensors if name not in wanted]
    other = [
        name
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    for what, names in (
        ("lacks", missing),
        ("has, and the model has not,", strange),
        ("has in another shape", other),
    ):
        if names:
            raise BenchError(
                f"{path} is no trained model of this recipe, backbone and data: it "
                f"{what} {len(names)} tensors, first {names[0]}"
            )
    model.load_state_dict(tensors, strict=True)


def _metric(runner: CheckpointingRunner) -> Any:
    return runner.val_loop.evaluator.metrics[0]


def _classwise(metric: Any) -> dict[str, dict[str, float]]:
    """Return the values by class of our metrics, NaN left out."""
    found: dict[str, dict[str, float]] = {}
    by_kind = getattr(metric, "classwise_AP", None)
    if by_kind is not None:
        several = any(isinstance(v, dict) for v in by_kind.values())
        found = dict(by_kind) if several else {"AP50": dict(by_kind)}
        found = {key: values for key, values in found.items() if values}
    iou = getattr(metric, "classwise_IoU", None)
    if iou:
        found = {"IoU": dict(iou)}
    return {
        kind: {name: value for name, value in values.items() if math.isfinite(value)}
        for kind, values in found.items()
    }


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep from the user what OpenMMLab prints and warns its own developers of."""
    MMLogger.get_instance("mmengine").setLevel("ERROR")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
