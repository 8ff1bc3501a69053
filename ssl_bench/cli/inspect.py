"""``ssl-bench inspect``."""

from __future__ import annotations

import argparse
import json

HELP = """\
look into a checkpoint without reading its numbers

Shows every state dict with its prefixes and sizes, what lies beside them (settings,
epoch, optimiser), the layouts that know the file, the networks in it, and the command
to type next. Nothing in the file is executed, and nothing is written.

examples:
  ssl-bench inspect checkpoint.pth
  ssl-bench inspect work_dirs/moco --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the inspection."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="checkpoint file, or directory with epoch_*.pth (the newest whole one)",
    )
    parser.add_argument("--json", action="store_true", help="all of it as JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is in the file."""
    from ssl_bench import checkpoints
    from ssl_bench.checkpoints.inspection import inspect
    from ssl_bench.checkpoints.inspection.text import render

    facts = inspect(checkpoints.resolve(args.checkpoint, whole=False))
    print(json.dumps(facts, indent=2) if args.json else render(facts))
    return 0
