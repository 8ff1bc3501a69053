"""``ssl-bench jobs``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssl_bench.cli.submit import add_jobs_dir

if TYPE_CHECKING:
    from ssl_bench.jobs.status import Status

HELP = """\
how the cells stand that were submitted: state, progress, logs, failures

Without an array: all of the jobs dir. Exit code 1 when a cell failed or was lost.

examples:
  ssl-bench jobs
  ssl-bench jobs 1234 --failed
  ssl-bench submit --retry 1234                     the failed ones again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the look."""
    parser.add_argument(
        "arrays", nargs="*", type=int, metavar="ARRAY", help="of which job arrays"
    )
    add_jobs_dir(parser)
    parser.add_argument(
        "--failed",
        action="store_true",
        help="only cells that did not come to their end",
    )
    parser.add_argument(
        "--json", action="store_true", help="all that is known, as JSON"
    )


def run(args: argparse.Namespace) -> int:
    """Print a table of cells, and what the failed ones said last."""
    from ssl_bench.jobs.status import TO_RETRY, ask_slurm, statuses
    from ssl_bench.jobs.submission import all_submissions, find_arrays
    from ssl_bench.progress import note

    if args.arrays:
        submissions = find_arrays(args.jobs_dir, args.arrays)
    else:
        submissions = all_submissions(args.jobs_dir)
    jobs = ask_slurm(submissions) if submissions else {}
    if isinstance(jobs, str):
        note(f"warning: {jobs}; states are those that the cells wrote themselves")
    known = None if isinstance(jobs, str) else jobs
    found = [status for one in submissions for status in statuses(one, known)]
    failed = [status for status in found if status.state in TO_RETRY]
    shown = failed if args.failed else found
    if args.json:
        print(json.dumps([status.to_json() for status in shown], indent=2))
    elif shown:
        _print(shown)
        _print_failed(failed)
    else:
        note(f"no cells in {args.jobs_dir}; submit some with ssl-bench submit")
    return int(bool(failed))


def _print(shown: Sequence[Status]) -> None:
    from ssl_bench.cli import _one_line
    from ssl_bench.jobs.status import counts, table

    rows = [[_one_line(text) for text in row] for row in table(shown)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(f"\n{counts(shown)}; logs:")
    for folder in dict.fromkeys(status.submission.folder for status in shown):
        print(f"  {_one_line(str(folder))}/JOB_0_log.out")


def _print_failed(failed: Sequence[Status]) -> None:
    """Print the last line of each failed cell, and how they are run again."""
    from ssl_bench.cli import _one_line

    for status in failed:
        why = ": ".join(text for text in (status.reason, status.last_line) if text)
        print(_one_line(f"{status.job} {status.state}: {why or 'it said nothing'}"))
    for array in dict.fromkeys(
        status.submission.arrays[-1].number
        for status in failed
        if status.submission.arrays
    ):
        print(f"again: ssl-bench submit --retry {array}")
