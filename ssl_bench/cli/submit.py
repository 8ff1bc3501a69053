"""``ssl-bench submit``."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from ssl_bench.jobs.submission import Array, Submission
    from ssl_bench.jobs.submitting import Submitter

HELP = """\
evaluate on a Slurm cluster: one job array of checkpoints and protocols

What follows -- is an evaluating command. Patterns in --pretrain are expanded here, and
every cell, one checkpoint under one protocol, becomes a job. A job that is preempted or
comes to its time limit is put back into the queue and goes on where it was.

examples:
  ssl-bench submit --partition gpu --gpus 1 -- knn --pretrain 'work_dirs/*/epoch_*.pth'
  ssl-bench submit --partition gpu --gpus 1 --array 8 --time 2:00:00 \\
      -- run --suite quick --pretrain 'work_dirs/*/epoch_*.pth'
  ssl-bench submit --partition cpu --gpus 0 --dry-run -- svm --pretrain ckpt.pth
  ssl-bench submit --retry 1234
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a submission."""
    add_jobs_dir(parser)
    group = parser.add_argument_group("Slurm")
    group.add_argument("--partition", metavar="P", help="default: the cluster's own")
    group.add_argument(
        "--gpus", type=int, metavar="N", help="of each cell; 0: none (default: 1)"
    )
    group.add_argument(
        "--tasks",
        type=int,
        metavar="N",
        help="processes of each cell (default: one for each GPU)",
    )
    group.add_argument(
        "--array", type=int, metavar="M", help="at most M cells run at once"
    )
    group.add_argument(
        "--time",
        metavar="T",
        help="limit of one go, as in 2:00:00 (default: the partition's)",
    )
    group.add_argument("--cpus-per-task", type=int, metavar="C", help="of each process")
    group.add_argument("--mem", help="memory, as in 32G")
    group.add_argument("--account", help="to be charged")
    group.add_argument("--qos", help="quality of service")
    group.add_argument(
        "--sbatch",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="further options of sbatch, as in constraint=a100",
    )
    parser.add_argument(
        "--retry",
        type=int,
        metavar="ARRAY",
        help="submit the failed, lost and cancelled cells of this array again",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="although the same cell is pending or running",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print script and cells, and stop"
    )
    parser.add_argument(
        "--json", action="store_true", help="what was submitted, as JSON"
    )
    parser.add_argument(
        "words", nargs="*", metavar="COMMAND", help="after --: what each cell runs"
    )


def add_jobs_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where submissions are kept."""
    parser.add_argument(
        "--jobs-dir",
        type=Path,
        default=Path("jobs"),
        metavar="DIR",
        help="where submissions and their logs are kept (default: jobs)",
    )


def run(args: argparse.Namespace) -> int:
    """Submit cells, or say what would be submitted."""
    from ssl_bench.cli import main

    if args.retry is not None:
        _refuse_more(args)
        return _retry(args)
    _check_words(args.words)
    from ssl_bench.jobs.expansion import expand, make_cells, take_pretrains
    from ssl_bench.jobs.options import Options, read_sbatch
    from ssl_bench.jobs.submitting import Submitter

    rest, pretrains = take_pretrains(args.words)
    cells = make_cells(rest, expand(pretrains), _resumes)
    for words in {cell.words[:1]: cell.words for cell in cells}.values():
        _check_words(words)
    options = Options(
        partition=args.partition,
        gpus=1 if args.gpus is None else args.gpus,
        tasks=args.tasks,
        at_once=args.array,
        time=args.time,
        cpus_per_task=args.cpus_per_task,
        mem=args.mem,
        account=args.account,
        qos=args.qos,
        sbatch=read_sbatch(args.sbatch),
    )
    submitter = Submitter(options, main)
    plan = submitter.plan(cells, args.jobs_dir)
    if args.dry_run:
        print(submitter.script(plan))
        print("\n".join(f"# ssl-bench {shlex.join(cell.words)}" for cell in cells))
        return 0
    _say(args, submitter, submitter.submit_new(plan, again=args.again), 0)
    return 0


def _retry(args: argparse.Namespace) -> int:
    from ssl_bench.cli import main
    from ssl_bench.jobs.submission import find_arrays
    from ssl_bench.jobs.submitting import Submitter

    before = find_arrays(args.jobs_dir, [args.retry])[0]
    submitter = Submitter(before.options, main)
    _say(args, submitter, submitter.submit_again(before), len(before.arrays))
    return 0


def _say(
    args: argparse.Namespace, submitter: Submitter, done: Submission, first: int
) -> None:
    """Say what was submitted: the arrays from the first new one on."""
    from ssl_bench.jobs.cluster import written
    from ssl_bench.progress import note

    arrays = done.arrays[first:]
    if args.json:
        jobs = done.jobs()
        facts = {
            "folder": str(done.folder),
            "arrays": [array.number for array in arrays],
            "cells": [
                {"job": jobs[number], "words": list(done.cells[number].words)}
                for array in arrays
                for number in array.cells
            ],
        }
        print(json.dumps(facts, indent=2))
        return
    limit = written(submitter.options.minutes(submitter.partition))
    for array in arrays:
        print(f"array {array.number}: {_cells(array)}, {limit} each, in {done.folder}")
    where = "" if args.jobs_dir == Path("jobs") else f" --jobs-dir {args.jobs_dir}"
    note(f"how they stand: ssl-bench jobs {arrays[0].number}{where}")


def _cells(array: Array) -> str:
    count = len(array.cells)
    return f"{count} cell" if count == 1 else f"{count} cells"


def _refuse_more(args: argparse.Namespace) -> None:
    """Refuse what a second attempt takes from the first one.

    Raises:
        UsageError: naming the first such option.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in (
            *("partition", "gpus", "tasks", "array", "time", "cpus_per_task", "mem"),
            *("account", "qos", "sbatch", "dry_run"),
        )
        if getattr(args, name)
    ]
    if args.words or given:
        raise UsageError(
            f"--retry takes its options from the first attempt; leave out "
            f"{given[0] if given else 'the words after --'}"
        )


def _check_words(words: Sequence[str]) -> None:
    """Read the words as the command itself will.

    Raises:
        UsageError: where it would not understand them, or evaluates nothing.
    """
    from ssl_bench.cli import _extra_words, build_parser, commands

    if not words:
        raise UsageError(
            "nothing to submit; write the command after --, as in ssl-bench submit "
            "--partition gpu -- knn --pretrain 'work_dirs/*/epoch_*.pth'"
        )
    known = [name for name in commands() if _takes(name, "--pretrain", "--results")]
    if words[0] not in known:
        raise UsageError(unknown("evaluating command", words[0], known))
    parser = build_parser()
    args, extra = parser.parse_known_args(words)
    if extra:
        raise UsageError(_extra_words(parser, args.command, extra))


def _takes(command: str, *options: str) -> bool:
    from ssl_bench.cli import commands

    parser = argparse.ArgumentParser()
    commands()[command].add_arguments(parser)
    return set(options) <= set(parser._option_string_actions)


def _resumes(command: str) -> bool:
    return _takes(command, "--resume")
