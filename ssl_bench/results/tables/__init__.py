"""Tables of a model zoo, generated from records: ours beside the published figures.

Records of the bundled scenes, of partly loaded backbones and of smoke runs never stand
in a table of real models. A table depends on the records and the published figures
only: the same ones give the same bytes, whatever their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ssl_bench.errors import UsageError, unknown
from ssl_bench.files import atomic_write_text
from ssl_bench.results.record import Record
from ssl_bench.results.references import References
from ssl_bench.results.store import RecordStore
from ssl_bench.results.tables.formats import FORMATS, write
from ssl_bench.results.tables.headings import HEADINGS, known_names, table_of
from ssl_bench.results.tables.rows import build_sections, selected

__all__ = [
    "FORMATS",
    "known_protocols",
    "render",
    "stale",
    "table_names",
    "table_of",
    "table_path",
    "write_all",
]


def table_names(records: Iterable[Record]) -> list[str]:
    """Return the names of the tables that real models' records fill, in their order."""
    return _tables_of(selected(records, include_bundled=False))


def known_protocols(records: Iterable[Record]) -> set[str]:
    """Return every name that `render` takes: those with a heading or a record."""
    return {*known_names(), *(record.identity.protocol for record in records)}


def render(
    records: Iterable[Record],
    protocol: str | None,
    fmt: str,
    references: References,
    *,
    include_bundled: bool = False,
) -> str:
    """Write one table, or all of them, as text.

    Args:
        records: any records; those that no table may show are left out.
        protocol: a table or a protocol in it (lowshot is shown with svm); None for all.
        fmt: ``md``, ``csv``, ``tex`` or ``json``.
        references: the published figures.
        include_bundled: show the records of the bundled scenes instead of those of
            real data, headed as such.

    Returns:
        The text, empty where no record fits.

    Raises:
        UsageError: for a protocol that has neither a heading nor a record, or a format
            that nobody knows.
    """
    if fmt not in FORMATS:
        raise UsageError(unknown("format", fmt, FORMATS))
    given = list(records)
    shown = selected(given, include_bundled=include_bundled)
    if protocol is None:
        tables = _tables_of(shown)
    else:
        known = known_protocols(given)
        if protocol not in known:
            raise UsageError(unknown("protocol", protocol, known))
        tables = [table_of(protocol)]
    sections = [
        section
        for table in tables
        for section in build_sections(shown, table, references, bundled=include_bundled)
    ]
    return write(sections, fmt) if sections else ""


def table_path(store: RecordStore, table: str, fmt: str) -> Path:
    """Return where a generated table is kept."""
    return store.root / "tables" / f"{table}.{fmt}"


def write_all(
    store: RecordStore, references: References, formats: Sequence[str] = ("md",)
) -> list[Path]:
    """Generate every table for which there are records.

    Returns:
        The files written.

    Raises:
        BenchError: when a file cannot be written.
    """
    records, _ = store.read_all()
    paths = []
    for table in table_names(records):
        for fmt in formats:
            path = table_path(store, table, fmt)
            atomic_write_text(path, render(records, table, fmt, references))
            paths.append(path)
    return paths


def stale(store: RecordStore, references: References) -> list[Path]:
    """Return the generated tables that no longer say what the records say.

    For every table the formats that are there are compared; where there is none, the
    Markdown one is missing. A table whose records are gone is stale too.
    """
    records, _ = store.read_all()
    filled = table_names(records)
    found = []
    for table in dict.fromkeys((*filled, *HEADINGS)):
        paths = [table_path(store, table, fmt) for fmt in FORMATS]
        there = [path for path in paths if path.exists()]
        if table in filled and not there:
            there = [table_path(store, table, "md")]
        for path in there:
            expected = render(records, table, path.suffix[1:], references)
            if not expected or _content(path) != expected.encode():
                found.append(path)
    return found


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _tables_of(records: Sequence[Record]) -> list[str]:
    found = {table_of(record.identity.protocol) for record in records}
    return [table for table in HEADINGS if table in found] + sorted(found - {*HEADINGS})
