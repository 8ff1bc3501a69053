"""``ssl-bench table``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.errors import BenchError, RecordError, UsageError, unknown
from ssl_bench.progress import note

if TYPE_CHECKING:
    from ssl_bench.results.record import Record
    from ssl_bench.results.store import RecordStore

HELP = """\
tables of the records, beside the published figures

Prints the table of one protocol, or of all, and keeps it as
RESULTS/tables/<protocol>.<format>. Records of the bundled scenes, of smoke runs
(--limit) and of partly loaded backbones are left out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the tables."""
    parser.add_argument(
        "protocol",
        nargs="?",
        metavar="PROTOCOL",
        help="knn, svm, lowshot, linear ... (default: all that have records)",
    )
    parser.add_argument(
        "--format",
        choices=("md", "csv", "tex", "json"),
        default="md",
        help="how the table is written (default: md)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit code 1 if a generated table is stale",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where records are kept (default: results)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables, or check those that were generated."""
    from ssl_bench.results.store import RecordStore

    store = RecordStore(args.results)
    if args.check:
        return _check(store, args.protocol)
    return _print(store, args.protocol, args.format)


def _print(store: RecordStore, protocol: str | None, fmt: str) -> int:
    from ssl_bench.results.references import load_references
    from ssl_bench.results.tables import render, table_names

    references = load_references()
    records, complaints = store.read_all()
    for complaint in complaints:
        note(f"warning: left out: {complaint}")
    text = render(records, protocol, fmt, references)
    _say_left_out(records, protocol)
    if not text:
        raise RecordError(_nothing(store, protocol))
    sys.stdout.write(text)
    names = table_names(records)
    for name in names if protocol is None else [_table(protocol)]:
        _write(store, name, fmt, render(records, name, fmt, references))
    return 0


def _write(store: RecordStore, table: str, fmt: str, text: str) -> None:
    """Keep a table; a folder that cannot be written costs a warning only."""
    from ssl_bench.files import atomic_write_text
    from ssl_bench.results.tables import table_path

    path = table_path(store, table, fmt)
    try:
        atomic_write_text(path, text)
    except BenchError as error:
        note(f"warning: the table is printed but not kept: {error}")
    else:
        note(f"table: {path}")


def _check(store: RecordStore, protocol: str | None) -> int:
    """Compare the generated tables with what they would be now."""
    from ssl_bench.results.references import load_references
    from ssl_bench.results.tables import known_protocols, stale

    records, complaints = store.read_all()
    for complaint in complaints:
        note(f"damaged: {complaint}")
    known = known_protocols(records)
    if protocol is not None and protocol not in known:
        raise UsageError(unknown("protocol", protocol, known))
    found = [
        path
        for path in stale(store, load_references())
        if protocol is None or path.stem == _table(protocol)
    ]
    for path in found:
        state = "is stale" if path.exists() else "is missing"
        note(
            f"{path} {state}; type: ssl-bench table {path.stem} "
            f"--format {path.suffix[1:]} --results {store.root}"
        )
    if not found and not complaints:
        note("the generated tables say what the records say")
    return 1 if found or complaints else 0


def _say_left_out(records: list[Record], protocol: str | None) -> None:
    mine = [
        record
        for record in records
        if protocol is None or _table(record.identity.protocol) == _table(protocol)
    ]
    for why, count in (
        ("of the bundled scenes", sum(r.bundled for r in mine)),
        ("of partly loaded backbones", sum(r.partial for r in mine)),
        ("of given features (--features)", sum(r.given for r in mine)),
        ("of smoke runs (--limit)", sum(r.identity.limit is not None for r in mine)),
    ):
        if count:
            verb = "record is" if count == 1 else "records are"
            note(f"{count} {verb} left out: {why}")


def _nothing(store: RecordStore, protocol: str | None) -> str:
    """Say that there is nothing to show, and what to type where a command makes it."""
    from ssl_bench.cli import commands

    what = f" of {protocol}" if protocol else ""
    found = f"no records{what} of real models in {store.folder}"
    command = protocol or "knn"
    if command not in commands():
        return f"{found}, and this version of ssl-bench has no command to make them"
    return (
        f"{found}; make one: ssl-bench {command} --pretrain CHECKPOINT "
        f"--data-root DIR --results {store.root}"
    )


def _table(protocol: str) -> str:
    from ssl_bench.results.tables import table_of

    return table_of(protocol)
