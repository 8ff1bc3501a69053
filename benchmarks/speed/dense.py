"""Detection and segmentation: our Runner around OpenMMLab's loop, and the start.

The same config, model, data and workers, trained for some iterations by mmengine's
Runner alone, as MMDetection's and MMSegmentation's own scripts build it, and through
``ssl_bench.openmmlab.run`` with its comparison, step log and bar. Both sides begin with
the same weights and draw the same flips and boxes, as what is detected costs time.
Rounds alternate; of each the iterations after the first few are timed from the end of
one to the end of the next, so that loading and every hook count.

Rounds on a shared machine differ by more than the bar. What ours does more is hooks, so
the seconds spent inside of them are measured as well.

Start-up is the time of a fresh process from its first statement to the end of the first
iteration, imports included.

    python -m benchmarks.speed.dense
    python -m benchmarks.speed.dense --iterations 10 --repeats 1   # a quick look
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()

import torch  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.registry import HOOKS  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from benchmarks.speed import measure  # noqa: E402
from ssl_bench import suite  # noqa: E402
from ssl_bench.features import Extraction  # noqa: E402
from ssl_bench.openmmlab import gate, run, stack  # noqa: E402
from ssl_bench.openmmlab.applying import Applied, Facts, apply  # noqa: E402
from ssl_bench.openmmlab.offered import offer_split  # noqa: E402
from ssl_bench.training.hooks import Bar, DrawByStep, StepLog  # noqa: E402

CASES = {
    "detect": "mask-rcnn_fpn_digit-scenes",
    "segment": "fcn-d8_digit-scenes",
}
WARM_UP = 5
BARS = {"overhead_at_most_percent": 2.0}
_STAMPS: list[float] = []


@HOOKS.register_module()
class IterationClock(Hook):  # type: ignore[misc]
    """Note when each iteration has ended, all other hooks included."""

    priority = "LOWEST"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note the time."""
        del runner, batch_idx, data_batch, outputs
        _STAMPS.append(time.perf_counter())


class SameWork(Hook):  # type: ignore[misc]
    """Give the other side the same work: what is drawn and detected costs time."""

    priority = "VERY_HIGH"

    def __init__(self, backbone: Any) -> None:
        self.backbone = backbone
        self.draws = DrawByStep(0)

    def before_train(self, runner: Any) -> None:
        """Begin with the weights that ours begins with."""
        gate.place(self.backbone, runner.model)

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Flip, crop and sample boxes as ours does."""
        self.draws.before_train_iter(runner, batch_idx, data_batch)


@contextlib.contextmanager
def timed_hooks() -> Iterator[list[float]]:
    """Collect the seconds of every call of our hooks around an iteration."""
    spent: list[float] = []
    before = []
    for kind in (
        DrawByStep,
        StepLog,
        Bar,
        run.PlaceWeights,
        run.KeepMetrics,
        run.StopAtNan,
    ):
        for name in ("before_train_iter", "after_train_iter"):
            own = kind.__dict__.get(name)
            if own is None:
                continue

            def timed(*args: Any, _own: Any = own, **named: Any) -> None:
                clock = time.perf_counter()
                _own(*args, **named)
                spent.append(time.perf_counter() - clock)

            before.append((kind, name, own))
            setattr(kind, name, timed)
    try:
        yield spent
    finally:
        for kind, name, own in before:
            setattr(kind, name, own)


def prepared(protocol: str, iterations: int, work_dir: Path) -> tuple[Any, Applied]:
    """Return the plan of a case and the config that is run."""
    options = {
        "train_cfg": {
            "_delete_": True,
            "type": "IterBasedTrainLoop",
            "max_iters": iterations,
            "val_interval": iterations,
        },
        "default_hooks.checkpoint": None,
        "log_processor.by_epoch": False,
        "custom_hooks": [{"type": "IterationClock"}],
    }
    request = suite.Request(
        config=CASES[protocol],
        extraction=Extraction(device="cpu", workers=0),
        options=options,
        limit=4 * iterations,
    )
    plan = suite.plan_evaluation(request, protocol)
    facts = Facts(1, "cpu", "fp32", 0, 0, False, 1.0, str(work_dir))
    applied = apply(plan.settings.fitted, facts, plan.config_name)
    for part in applied.config.param_scheduler:
        part.by_epoch = False
    return plan, applied


def bare(protocol: str, iterations: int, work_dir: Path) -> list[float]:
    """Train by mmengine's Runner alone; return seconds of each timed iteration."""
    plan, applied = prepared(protocol, iterations, work_dir)
    stack.register(protocol)
    config = applied.config
    for role, split in plan.dataset.items():
        if protocol == "segment":
            offer_split(role, split)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.test_dataloader = config.test_cfg = config.test_evaluator = None
    config.experiment_name = f"bare-{time.monotonic_ns()}"
    _STAMPS.clear()
    runner = Runner.from_cfg(config)
    runner.register_hook(SameWork(plan.backbone))
    runner.train()
    return spans()


def ours(protocol: str, iterations: int, work_dir: Path) -> list[float]:
    """Train through this package; return seconds of each timed iteration."""
    plan, applied = prepared(protocol, iterations, work_dir)
    _STAMPS.clear()
    run.train_and_test(
        run.Job(
            protocol=protocol,
            name=plan.config_name,
            applied=applied,
            backbone=plan.backbone,
            splits={
                "train": plan.dataset["train"],
                "test": plan.dataset["test"].limited(1),
            }
            if protocol == "segment"
            else plan.dataset,
            device=torch.device("cpu"),
            seed=0,
            work_dir=work_dir,
            identity={},
        )
    )
    return spans()


def spans() -> list[float]:
    """Return the times between the ends of iterations, the first few left out."""
    pairs = zip(_STAMPS[WARM_UP:], _STAMPS[WARM_UP + 1 :], strict=False)
    return [later - earlier for earlier, later in pairs]


def start_up(kind: str, protocol: str) -> float:
    """Return seconds from a fresh process's start to the end of its first iteration."""
    words = [
        sys.executable,
        "-m",
        "benchmarks.speed.dense",
        "--start-up",
        kind,
        protocol,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR"
    )
    parser.add_argument("--start-up", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    kinds = {"bare": bare, "ours": ours}
    with tempfile.TemporaryDirectory() as name:
        if args.start_up:
            kind, protocol = args.start_up
            with contextlib.redirect_stdout(io.StringIO()):
                kinds[kind](protocol, 1, Path(name))
            print(_STAMPS[0] - BEGIN)
            return
        report: dict[str, Any] = {
            "what": f"{args.iterations} iterations of 8 images a round, 2 threads",
            "bars": BARS,
        }
        for protocol in CASES:
            medians: dict[str, list[float]] = {kind: [] for kind in kinds}
            hooks: list[float] = []
            for number in range(args.repeats):
                turn = list(kinds.items())[:: 1 if number % 2 else -1]
                for kind, train in turn:
                    place = Path(name) / f"{protocol}-{kind}-{number}"
                    with (
                        contextlib.redirect_stdout(io.StringIO()),
                        timed_hooks() as spent,
                    ):
                        found = sorted(train(protocol, args.iterations, place))
                    medians[kind].append(found[len(found) // 2])
                    if kind == "ours":
                        share = sum(spent) / args.iterations / medians[kind][-1]
                        hooks.append(100 * share)
                print(protocol, {k: round(v[-1], 4) for k, v in medians.items()})
            pairs = zip(medians["ours"], medians["bare"], strict=True)
            begun = {
                kind: [start_up(kind, protocol) for _ in range(args.repeats)]
                for kind in kinds
            }
            report[protocol] = {
                "overhead_percent": measure.spread(
                    [100 * (o / b - 1) for o, b in pairs]
                ),
                "hooks_percent": measure.spread(hooks),
                "iteration_s": {k: measure.spread(v) for k, v in medians.items()},
                "start_up_s": {k: measure.spread(v) for k, v in begun.items()},
            }
    report["machine"] = measure.machine(
        ("ssl_bench", "torch", "onedl-mmengine", "onedl-mmdetection")
    )
    measure.write("dense", report, args.out)


if __name__ == "__main__":
    main()
