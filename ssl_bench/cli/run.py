"""``ssl-bench run``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.cli.evaluation import (
    add_data_arguments,
    add_reading_arguments,
    to_request,
)

if TYPE_CHECKING:
    from ssl_bench.suite.request import Request

HELP = """\
many protocols on one checkpoint or several, features extracted once

A plan is printed first. A cell that fails does not stop the others, and the same
command goes on with what is unfinished.

examples:
  ssl-bench run --suite quick                       bundled backbone, bundled scenes
  ssl-bench run --suite classic --pretrain ckpt.pth --dry-run
  ssl-bench run --suite quick --pretrain 'work_dirs/*/epoch_*.pth'
  ssl-bench run --suite mine.toml --pretrain ckpt.pth --dataset folder \\
      --data-root photos
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a suite."""
    add_suite(parser)
    group = parser.add_argument_group("backbone")
    group.add_argument(
        "--pretrain",
        nargs="+",
        action="extend",
        metavar="CKPT",
        help="checkpoint files, directories with epoch_*.pth (the newest whole one), "
        "patterns in quotes, or 'none' for random initialisation; without it: the "
        "bundled backbone",
    )
    add_reading_arguments(group)
    add_data_arguments(parser)
    group = add_run_arguments(parser)
    group.add_argument("--name", help="the model's name in records and tables")
    group.add_argument(
        "--rerun", action="store_true", help="run again although it is finished"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print the plan, and stop"
    )
    group.add_argument(
        "--json", action="store_true", help="plan and records as JSON on stdout"
    )


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a suite."""
    parser.add_argument(
        "--suite",
        required=True,
        metavar="NAME",
        help="quick, classic, full, or a .toml file of one's own",
    )


def add_run_arguments(
    parser: argparse.ArgumentParser,
) -> argparse._ArgumentGroup:
    """Add the options that say where results go; return their group."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where records are kept (default: results)",
    )
    group.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="parent of the cells' work dirs: resolved configs, copies of records, "
        "training runs",
    )
    return group


def base_request(args: argparse.Namespace) -> Request:
    """Return what all cells of a suite are asked alike."""
    known = {"rerun": False, "name": None, **vars(args)}
    own = {"pretrain": None, "config": None, "cfg_options": None, "work_dir": None}
    return to_request(argparse.Namespace(**{**known, **own}))


def run(args: argparse.Namespace) -> int:
    """Plan and run a suite, and print what came of it."""
    from ssl_bench.suite.suites import read_suite

    suite = read_suite(args.suite)
    from ssl_bench.files import check_writable
    from ssl_bench.progress import note
    from ssl_bench.results.store import RecordStore
    from ssl_bench.suite import overview
    from ssl_bench.suite.batch import Batch
    from ssl_bench.suite.cell import FAILED
    from ssl_bench.suite.pretrains import pretrains_of

    batch = Batch(
        suite,
        base_request(args),
        pretrains_of(args.pretrain),
        RecordStore(args.results),
        work_dir=args.work_dir,
        debug=args.debug,
    )
    cells = batch.plan()
    note(f"suite {suite.name}: {suite.about}\n\n{overview.plan_table(cells)}\n")
    for sentence in (*overview.failures(cells), *overview.plan_notes(cells)):
        note(sentence)
    if not args.dry_run:
        check_writable(args.results)
        batch.run(overview.say_result)
        note("")
        failed = overview.failures(cells)
        for sentence in failed:
            note(sentence)
        if failed:
            note("the same command goes on with what is unfinished")
    if args.json:
        facts = {"suite": suite.name, "cells": overview.to_json(cells)}
        print(json.dumps(facts, indent=2))
    elif not args.dry_run:
        print(overview.summary_table(cells))
        note(f"tables: ssl-bench table --results {args.results}")
    return int(any(cell.state == FAILED for cell in cells))
