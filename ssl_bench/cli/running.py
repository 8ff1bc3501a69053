"""How a command runs a protocol, alone or with other processes, and what it prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ssl_bench.cli.evaluation import to_request
from ssl_bench.files import check_writable

if TYPE_CHECKING:
    from ssl_bench.results.record import Record
    from ssl_bench.suite import Plan, Request


def run_protocol(args: argparse.Namespace, protocol: str) -> int:
    """Plan and run one protocol, and print what it found."""
    return run_together(args, lambda: _run(args, protocol))


def run_together(args: argparse.Namespace, work: Callable[[], int]) -> int:
    """Do a command's work in this process, or with the others that were started.

    Args:
        args: its ``device`` becomes that of this process.
        work: returns the exit code.
    """
    from ssl_bench import launch, progress

    with launch.together(args.launcher, args.device) as device:
        args.device = device
        progress.be_quiet(launch.rank() > 0)
        return work()


def _run(args: argparse.Namespace, protocol: str) -> int:
    from ssl_bench import suite
    from ssl_bench.launch import rank
    from ssl_bench.results.store import RecordStore

    request = to_request(args)
    plan = suite.plan_evaluation(request, protocol)
    suite.say_defaults(request, plan)
    if args.dry_run:
        facts = describe(request, plan)
        width = max(map(len, facts))
        lines = [f"{name:<{width}}  {value}" for name, value in facts.items()]
        print(json.dumps(facts, indent=2) if args.json else "\n".join(lines))
        return 0
    check_writable(args.results)
    record = suite.run_request(request, plan, RecordStore(args.results))
    if rank() > 0:
        return 0
    if args.json:
        print(json.dumps(record.to_json(), indent=2))
    else:
        print(summary(record))
    return 0


def describe(request: Request, plan: Plan) -> dict[str, str]:
    """Say what an evaluation would do."""
    from ssl_bench import suite

    identity = suite.identify(request, plan)
    splits = ", ".join(f"{s.split} {len(s)}" for s in plan.dataset.values())
    return {
        "model": f"{plan.name} ({identity.arch})",
        "protocol": f"{identity.protocol} version {identity.version}",
        "config": plan.config_name,
        "data": f"{plan.dataset_name}: {splits or 'given features'}",
        "settings": json.dumps(identity.settings),
        "key": identity.key(),
    }


def summary(record: Record) -> str:
    """Return the metrics of one record as a markdown table."""
    from ssl_bench.results.tables.formats import interval, number

    lines = [
        f"{' '.join(record.name.split())} on {record.dataset['name']} "
        f"({record.identity.protocol}, {record.identity.arch})",
        "",
        "| metric | value | 95 % interval | images |",
        "|:--|--:|:-:|--:|",
    ]
    for metric in record.metrics:
        ends = interval(metric)
        between = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
        if metric.values:
            between = f"{min(metric.values):.2f} to {max(metric.values):.2f} over "
            between += f"{len(metric.values)} samples"
        mark = "*" if record.chosen_here(metric) else ""
        lines.append(
            f"| {metric.name} | {number(metric)}{mark} | {between} | {metric.count} |"
        )
    if any(record.chosen_here(metric) for metric in record.metrics):
        lines += ["", "* chosen on the split that is reported"]
    for warning in record.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    reasons = {
        "a smoke run (--limit)": record.identity.limit is not None,
        "a partly loaded backbone": record.partial,
        "given features": record.given,
        "the bundled scenes": record.bundled,
    }
    why = [reason for reason, holds in reasons.items() if holds]
    if why:
        print(f"in no table of real models: {', '.join(why)}", file=sys.stderr)
    return "\n".join(lines)
