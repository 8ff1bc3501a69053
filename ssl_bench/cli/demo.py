"""``ssl-bench demo``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = """\
evaluate the bundled and a random backbone on the bundled scenes

Needs no download: the scenes are drawn once from scikit-learn's handwritten digits. The
tables show the bundled backbone beside the same architecture at random initialisation.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where the demo's records are kept"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most N images of a split"
    )
    parser.add_argument("--rerun", action="store_true", help="evaluate again")
    parser.add_argument(
        "--json", action="store_true", help="the records as JSON on stdout"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its tables."""
    from ssl_bench.data.roots import cache_dir
    from ssl_bench.demo import PROTOCOLS, run_demo
    from ssl_bench.features import Extraction
    from ssl_bench.results.references import load_references
    from ssl_bench.results.store import RecordStore
    from ssl_bench.results.tables import render
    from ssl_bench.suite import evaluate

    records = run_demo(
        evaluate,
        PROTOCOLS,
        store=RecordStore(args.results or cache_dir() / "demo"),
        extraction=Extraction(device=args.device),
        seed=args.seed,
        limit=args.limit,
        rerun=args.rerun,
        runs=cache_dir() / "demo" / "work_dirs",
    )
    if args.json:
        print(json.dumps([record.to_json() for record in records], indent=2))
    else:
        published = load_references()
        print(render(records, None, "md", published, include_bundled=True))
    return 0
