"""``ssl-bench watch``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.cli.evaluation import add_data_arguments, add_reading_arguments
from ssl_bench.cli.run import add_run_arguments, add_suite, base_request
from ssl_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from ssl_bench.suite.cell import Cell

HELP = """\
evaluate each checkpoint of a training run as it appears, and keep a curve

Takes epoch_*.pth and iter_*.pth (MMSelfSup, MMPretrain), NAME-ep=N.ckpt (solo-learn)
and epoch=N-step=N.ckpt (Lightning), never a half-written one. The curve is
WORK_DIR/ssl_bench_curve.csv and .png; the same command goes on where it was.

examples:
  ssl-bench watch work_dirs/simclr --suite quick
  ssl-bench watch work_dirs/simclr --suite quick --every 10 --until 200
  ssl-bench watch lightning_logs/version_0 --suite quick --dataset folder \\
      --data-root photos --once
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a watch."""
    parser.add_argument(
        "folder", type=Path, metavar="WORK_DIR", help="where the run writes"
    )
    add_suite(parser)
    group = parser.add_argument_group("watch")
    group.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="only epochs that N divides (default: all)",
    )
    group.add_argument(
        "--until", type=int, metavar="EPOCH", help="end after this epoch"
    )
    group.add_argument(
        "--poll",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="between two looks (default: 30)",
    )
    group.add_argument(
        "--once", action="store_true", help="evaluate what is there, and end"
    )
    add_reading_arguments(parser.add_argument_group("backbone"))
    add_data_arguments(parser)
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until Ctrl-C, or until what was asked for is done."""
    if args.every < 1:
        raise UsageError(f"--every {args.every} is not 1 or more")
    if not 0 < args.poll < float("inf"):
        raise UsageError(f"--poll {args.poll:g} is not a number of seconds above 0")
    if not args.folder.is_dir():
        raise BenchError(
            f"{args.folder} is no folder; name the work dir of a training run"
        )
    from ssl_bench.suite.suites import read_suite

    suite = read_suite(args.suite)
    from ssl_bench.files import check_writable
    from ssl_bench.progress import note
    from ssl_bench.results.store import RecordStore
    from ssl_bench.results.tables.formats import interval
    from ssl_bench.suite import overview
    from ssl_bench.suite.batch import Batch, check_base
    from ssl_bench.suite.curve import Curve
    from ssl_bench.suite.pretrains import Pretrain
    from ssl_bench.suite.watching import EXPECTED, Rule, Watch

    base, store = base_request(args), RecordStore(args.results)
    check_base(base)
    check_writable(args.results)
    check_writable(args.folder)

    def evaluate(path: Path) -> Sequence[Cell]:
        pretrains = [Pretrain(str(path), str(path))]
        batch = Batch(
            suite, base, pretrains, store, work_dir=args.work_dir, debug=args.debug
        )
        for sentence in overview.failures(batch.plan(estimate=False)):
            note(sentence)
        return batch.run(overview.say_result)

    curve = Curve(args.folder, interval)
    rule = Rule(args.every, args.until, args.poll, args.once)
    if not rule.once:
        note(f"watching {args.folder} for {EXPECTED}; Ctrl-C ends it")
    watch = Watch(args.folder, evaluate, curve, rule)
    failed = watch.run()
    if curve.points:
        note(f"curve: {curve.table}")
    else:
        note(f"nothing evaluated in {args.folder}; expected {EXPECTED}")
    for name in watch.failed:
        note(f"FAILED: {name}; the same command tries it again")
    return int(failed > 0)
