"""Train one recipe by mmengine's Runner, and return what every evaluation found."""

from __future__ import annotations

import contextlib
import random
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from ssl_bench.backbones import Backbone
from ssl_bench.backbones.weights import fingerprint
from ssl_bench.errors import BenchError
from ssl_bench.training.apply import Applied, Facts, apply
from ssl_bench.training.batch_norm import synchronise
from ssl_bench.training.build import build_model
from ssl_bench.training.checkpoints import CheckpointingRunner, newest_whole
from ssl_bench.training.hooks import (
    Bar,
    DrawByStep,
    LoadGate,
    StepLog,
    bare,
    first_rates,
)
from ssl_bench.training.images import EvalImages, TrainImages
from ssl_bench.training.job import Job, starting_point
from ssl_bench.training.loaders import eval_loader, train_loader
from ssl_bench.training.loop import TopK
from ssl_bench.training.model import Classifier, DivergedError
from ssl_bench.training.optim import build_optimizer, parameter_groups


@dataclass(frozen=True)
class Trained:
    """Hold what a training run found.

    Attributes:
        heads: names.
        history: metrics by epoch, ``top1/<head>`` and ``top5/<head>`` in percent.
        classwise_HK: accuracy of the last epoch by head and class, NaN where the test
            split lacks the class.
        confusion_HKK: counts of the last epoch, true class by guessed class; None for
            many heads.
        dead: heads that diverged, and at which step.
        facts: batch, learning rate, processes.
    """

    heads: tuple[str, ...]
    history: Mapping[int, Mapping[str, float]]
    classwise_HK: NDArray[np.float64]
    confusion_HKK: NDArray[np.int64] | None
    dead: Mapping[str, int]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The last epoch."""
        return max(self.history)

    def best(self, key: str) -> int:
        """Return the first epoch in which a metric was at its best."""
        return max(self.history, key=lambda epoch: (self.history[epoch][key], -epoch))


def train(job: Job) -> Trained:
    """Train and evaluate.

    Raises:
        BenchError: where the run cannot begin or go on, where a frozen backbone is not
            what it was, and where the loss is not finite any more.
    """
    _rank, world = get_dist_info()
    applied = apply(
        job.recipe,
        Facts(
            images=len(job.train),
            processes=world,
            seed=job.seed,
            deterministic=job.deterministic,
            work_dir=str(job.work_dir),
        ),
    )
    start = starting_point(job.work_dir, identity=job.identity, resume=job.resume)
    with own_generators():
        return _train(job, applied, start)


def _train(job: Job, applied: Applied, start: Path | None) -> Trained:
    _rank, world = get_dist_info()
    model, rates = build_model(job)
    runner = _runner(job, applied, model, rates, start)
    frozen = job.recipe.frozen
    loaded = _state_digest(job.backbone)
    before = _state_digest(model.network) if frozen else ""
    bar = Bar(
        f"{job.recipe.name} on {job.train.name}", applied.batch // applied.accumulate
    )
    runner.register_hook(bar)
    try:
        runner.train()
    except DivergedError as error:
        step = runner.iter
        kept = newest_whole(job.work_dir)
        raise BenchError(
            f"{error} at step {step} with the learning rate "
            f"{first_rates(runner.optim_wrapper.param_groups)}; lower it, as in "
            "--cfg-options optim_wrapper.optimizer.lr="
            f"{applied.lr / 10:g}; the last good checkpoint is "
            f"{kept.name if kept else 'none yet'}"
        ) from error
    except torch.cuda.OutOfMemoryError as error:
        raise BenchError(
            f"the GPU is out of memory with {applied.per_process} images a process; "
            "keep the batch and take it in parts: --cfg-options "
            f"optim_wrapper.accumulative_counts={applied.accumulate * 2}, or pass "
            "--dtype bf16"
        ) from error
    finally:
        bar.close()
        forget(runner.experiment_name, type(runner.visualizer))
    if frozen and (
        _state_digest(model.network) != before or _state_digest(job.backbone) != loaded
    ):
        raise BenchError(
            "the frozen backbone is not what it was before training; this result is "
            "not kept: please report it with the config"
        )
    trained = bare(runner.model)
    metric = runner.val_loop.evaluator.metrics[0]
    if not metric.classwise_HK.size:  # everything was finished before
        runner.val_loop.run()
    return Trained(
        heads=tuple(trained.heads),
        history=runner.train_loop.history.epochs,
        classwise_HK=metric.classwise_HK,
        confusion_HKK=metric.confusion_HKK,
        dead=dict(trained.dead),
        facts={**applied.facts(job.recipe), "processes": world},
    )


def _runner(
    job: Job,
    applied: Applied,
    model: Classifier,
    rates: Mapping[str, Mapping[str, float]],
    start: Path | None,
) -> CheckpointingRunner:
    rank, world = get_dist_info()
    config = applied.config
    synchronise(model, job.device.type)
    optimizer = dict(config.optim_wrapper.optimizer)
    scale = applied.lr / job.recipe.lr
    groups = parameter_groups(
        model,
        lr=applied.lr,
        weight_decay=float(optimizer.get("weight_decay", 0.0)),
        paramwise=config.optim_wrapper.get("paramwise_cfg"),
        heads={
            name: {**rate, "lr": rate["lr"] * scale} for name, rate in rates.items()
        },
    )
    wrapper = _wrapper(
        build_optimizer(optimizer, groups), config.optim_wrapper, applied, job
    )
    gate = LoadGate(
        _state_digest(job.backbone), lambda whole: _state_digest(whole.network)
    )
    hooks = [
        *([] if job.recipe.frozen else [gate]),
        DrawByStep(job.seed),
        StepLog(flush=50),
        *(config.get("custom_hooks") or ()),
    ]
    return CheckpointingRunner(
        device=job.device,
        model=model,
        work_dir=str(job.work_dir),
        train_dataloader=train_loader(
            TrainImages(job.train, job.recipe.train_transform, job.seed),
            batch=applied.batch,
            accumulate=applied.accumulate,
            seed=job.seed,
            rank=rank,
            world=world,
            workers=job.workers,
            pin_memory=job.device.type == "cuda",
        ),
        val_dataloader=eval_loader(
            EvalImages(job.test, job.transform),
            batch=job.test_batch,
            rank=rank,
            world=world,
            workers=job.workers,
            pin_memory=job.device.type == "cuda",
        ),
        train_cfg=config.train_cfg,
        val_cfg={},
        val_evaluator=Evaluator(TopK(list(model.heads), len(job.train.classes))),
        optim_wrapper=wrapper,
        param_scheduler=config.param_scheduler,
        default_hooks=config.default_hooks,
        custom_hooks=hooks,
        launcher="none" if world == 1 else "pytorch",
        env_cfg=config.get("env_cfg") or {},
        log_processor=config.get("log_processor"),
        visualizer=config.get("visualizer"),
        default_scope="mmengine",
        randomness=config.randomness,
        load_from=None if start is None else str(start),
        resume=start is not None,
        experiment_name=f"{job.recipe.name}-{uuid.uuid4().hex}",
        cfg=config,
    )


def _wrapper(
    optimizer: torch.optim.Optimizer, config: Any, applied: Applied, job: Job
) -> OptimWrapper:
    options: dict[str, Any] = {"accumulative_counts": applied.accumulate}
    if config.get("clip_grad"):
        options["clip_grad"] = dict(config.clip_grad)
    if job.dtype == "fp16" and not job.recipe.frozen and job.device.type == "cuda":
        return AmpOptimWrapper(optimizer=optimizer, dtype="float16", **options)
    return OptimWrapper(optimizer=optimizer, **options)


def _state_digest(network: Backbone) -> str:
    return fingerprint(network.arch, network.state_dict())


@contextlib.contextmanager
def own_generators() -> Iterator[None]:
    """Leave the global generators, and torch's switches, as they were."""
    states = random.getstate(), np.random.get_state()
    strict = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        with torch.random.fork_rng(), contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.use_deterministic_algorithms(strict)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


def forget(experiment: str, *kinds: Any) -> None:
    """Drop what mmengine keeps of a run for as long as the process lives.

    Args:
        experiment: what the Runner's ``experiment_name`` begins with; it adds the time.
        kinds: classes that keep an instance beside the usual ones.
    """
    for kind in (MMLogger, MessageHub, DefaultScope, *kinds):
        instances = kind._instance_dict
        for name in [name for name in instances if name.startswith(experiment)]:
            for handler in getattr(instances.pop(name), "handlers", ()):
                handler.close()
