"""``ssl-bench doctor``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

HELP = """\
look at the installation: versions, devices, faiss, data sets

Says what works (ok), what is not there (--), what does not work (!!), and the line to
type. Exit code 1 when something that is installed does not work.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the examination."""
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where to look for data sets"
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print one line a finding, and the advice below it."""
    from ssl_bench.doctor import examine

    findings = examine(args.data_root)
    if args.json:
        print(json.dumps([dataclasses.asdict(f) for f in findings], indent=2))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            absent = finding.ok and finding.advice
            mark = "-- " if absent else "ok " if finding.ok else "!! "
            print(f"{mark}{finding.subject:<{width}}  {finding.state}")
            if finding.advice:
                print(f"   {'':<{width}}  -> {finding.advice}")
    return 0 if all(finding.ok for finding in findings) else 1
