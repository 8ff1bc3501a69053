"""From records to the rows of tables: which records share a row, and which must not.

Records of one model stand in one row as long as no two of them claim the same cell and
all were run on the same weights, in the same precision and with the same seed.
Otherwise they get rows of their own, labelled by what differs: none is ever picked
silently. A section holds one version of each protocol only.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ssl_bench.results.record import Metric, Record, Reference, canonical_json, digest
from ssl_bench.results.references import References
from ssl_bench.results.store import differing
from ssl_bench.results.tables.headings import (
    ARCH_FIELD,
    CONFIG_FIELD,
    HEADINGS,
    Column,
    Heading,
    heading_for,
    plain_heading,
    table_of,
)

_SHARED = ("weights", "arch", "encoder", "dtype", "seed", "limit")
"""What two records must agree in to stand in one row, whatever their protocols."""

_IMPORTED = "settings.imported"
"""Where `ssl_bench.results.imported` names the tool."""

_ABSENT = object()
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Cell:
    """Hold what one record puts under one column.

    Attributes:
        metric: the number; None for a text cell.
        text: what a text cell shows.
        published: the published figures; several where the sources disagree.
        chosen_here: whether something was chosen on the split that is reported.
    """

    metric: Metric | None
    text: str
    published: tuple[Reference, ...]
    chosen_here: bool


@dataclass(frozen=True)
class Row:
    """Hold one line of a table.

    Attributes:
        name: the model's name.
        label: what tells this row from others of the same model; mostly empty.
        cells: one per column of the heading; None where nobody has run it.
        records: whose numbers these are.
        notes: warnings, reruns that differ, published figures that disagree.
    """

    name: str
    label: str
    cells: tuple[Cell | None, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Hold one table: one heading, one data set, one version of each protocol."""

    table: str
    heading: Heading
    dataset: str
    versions: tuple[tuple[str, int], ...]
    superseded: bool
    bundled: bool
    rows: tuple[Row, ...]


def selected(records: Iterable[Record], *, include_bundled: bool) -> list[Record]:
    """Return the records that a table may show, in an order that never varies.

    Args:
        records: any records.
        include_bundled: True for the records of the bundled scenes instead of those
            of real data.
    """
    chosen = [
        record
        for record in records
        if (record.bundled if include_bundled else record.tabled)
    ]
    return sorted(chosen, key=_order)


def build_sections(
    records: Sequence[Record], table: str, references: References, *, bundled: bool
) -> list[Section]:
    """Return the sections of one table.

    Args:
        records: those of `selected`.
        table: the table's name; records of other tables are left out.
        references: the published figures.
        bundled: whether the records are those of the bundled scenes.
    """
    mine = [r for r in records if table_of(r.identity.protocol) == table]
    sections = []
    for dataset in _datasets(table, mine):
        on_it = [r for r in mine if _dataset(r) == dataset]
        for group, superseded in _by_version(on_it):
            for heading, fitting in _by_heading(table, dataset, group):
                versions = {(r.identity.protocol, r.identity.version) for r in fitting}
                rows = _rows(fitting, heading, references)
                sections.append(
                    Section(
                        table=table,
                        heading=heading,
                        dataset=dataset,
                        versions=tuple(sorted(versions)),
                        superseded=superseded,
                        bundled=bundled,
                        rows=rows,
                    )
                )
    return sections


def _order(record: Record) -> tuple[str, ...]:
    """Order by model, then protocol, then key; runs of one key by their start."""
    return (
        record.name.casefold(),
        record.name,
        record.identity.protocol,
        record.key,
        record.started,
        canonical_json(record.to_json()),
    )


def _dataset(record: Record) -> str:
    return str(record.dataset.get("name", ""))


def _datasets(table: str, records: Sequence[Record]) -> list[str]:
    """Return the data sets: published ones first, as laid down, then the others."""
    published = [heading.dataset for heading in HEADINGS.get(table, ())]
    found = {_dataset(record) for record in records}
    return [d for d in published if d in found] + sorted(found - set(published))


def _by_version(records: Sequence[Record]) -> list[tuple[list[Record], bool]]:
    """Split so that no group mixes versions: the newest of all, then each older one."""
    newest: dict[str, int] = {}
    for record in records:
        protocol, version = record.identity.protocol, record.identity.version
        newest[protocol] = max(newest.get(protocol, version), version)
    groups: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        protocol, version = record.identity.protocol, record.identity.version
        current = version == newest[protocol]
        key = (0, "") if current else (version - newest[protocol], protocol)
        groups.setdefault(key, []).append(record)
    ordered = sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1]))
    return [(group, key != (0, "")) for key, group in ordered]


def _by_heading(
    table: str, dataset: str, records: Sequence[Record]
) -> list[tuple[Heading, list[Record]]]:
    """Give every record a heading that shows it.

    A record stands under every heading that it fills, the published one first. Records
    none of whose metrics has a column stand under the names of their own metrics.
    """
    metrics = [metric.name for record in records for metric in record.metrics]
    heading = heading_for(table, dataset, metrics)
    groups: list[tuple[Heading, list[Record]]] = []
    rest = list(records)
    while heading is not None:
        fitting = [r for r in records if _has_number(r, heading)]
        rest = [r for r in rest if not _has_number(r, heading)]
        if fitting:
            groups.append((_narrowed(heading, fitting), fitting))
        heading = heading.below
    for protocol in sorted({r.identity.protocol for r in rest}):
        of_it = [r for r in rest if r.identity.protocol == protocol]
        names = dict.fromkeys(m.name for r in of_it for m in r.metrics)
        groups.append((plain_heading(protocol, dataset, list(names)), of_it))
    return groups


def _has_number(record: Record, heading: Heading) -> bool:
    return any(_fills(record, column) for column in heading.columns)


def _narrowed(heading: Heading, records: Sequence[Record]) -> Heading:
    """Leave out the optional columns that no record fills."""
    columns = tuple(
        column
        for column in heading.columns
        if not column.optional or any(_fills(record, column) for record in records)
    )
    return dataclasses.replace(heading, columns=columns)


def _fills(record: Record, column: Column) -> bool:
    return (
        column.protocol == record.identity.protocol
        and record.metric(column.metric) is not None
    )


def _rows(
    records: Sequence[Record], heading: Heading, references: References
) -> tuple[Row, ...]:
    rows = []
    for name, group in groupby(records, key=lambda record: record.name):
        runs: dict[str, list[Record]] = {}
        for record in group:
            runs.setdefault(record.key, []).append(record)
        firsts = [run[0] for run in runs.values()]
        by_label: dict[str, list[Record]] = {}
        for record in firsts:
            by_label.setdefault(_label(record, firsts, heading), []).append(record)
        for label in sorted(by_label, key=_natural):
            mine = by_label[label]
            notes = [note for r in mine for note in _notes(r, runs[r.key], len(mine))]
            rows.append(_row(name, label, mine, notes, heading, references))
    return tuple(rows)


def _row(
    name: str,
    label: str,
    records: Sequence[Record],
    notes: Sequence[str],
    heading: Heading,
    references: References,
) -> Row:
    cells: list[Cell | None] = []
    compared: dict[str, None] = {}
    disagreements = []
    for column in heading.columns:
        cell, config = _cell(column, records, heading, references)
        cells.append(cell)
        if cell is None or not cell.published:
            continue
        if config != name:
            compared[
                f"compared with the published {config}: the checkpoint's sha256 says so"
            ] = None
        if len(cell.published) > 1:
            said = ", ".join(f"{p.value} ({p.source})" for p in cell.published)
            disagreements.append(f"{column.title}: the sources disagree: {said}")
    return Row(
        name=name,
        label=label,
        cells=tuple(cells),
        records=tuple(records),
        notes=(*notes, *compared, *disagreements),
    )


def _cell(
    column: Column,
    records: Sequence[Record],
    heading: Heading,
    references: References,
) -> tuple[Cell | None, str | None]:
    """Return a column's cell and the config with whose figures it was compared."""
    for record in records:
        metric = record.metric(column.metric)
        text = _field(column.metric, record)
        if record.identity.protocol != column.protocol or not (metric or text):
            continue
        config, published = _published(column, record, heading, references)
        chosen = metric is not None and record.chosen_here(metric)
        return Cell(metric, text, published, chosen), config
    return None, None


def _natural(text: str) -> list[int | str]:
    """Order numbers within text by their value: seed=2 before seed=10."""
    return [int(p) if p.isdecimal() else p for p in re.split(r"([0-9]+)", text)]


def _field(name: str, record: Record) -> str:
    fields = {CONFIG_FIELD: record.config, ARCH_FIELD: record.identity.arch}
    return fields.get(name, "")


def _published(
    column: Column, record: Record, heading: Heading, references: References
) -> tuple[str | None, tuple[Reference, ...]]:
    if not heading.published or not record.tabled or record.deviations:
        return None, ()
    sha256 = str(record.checkpoint.get("sha256") or "")
    config = references.config_of(record.name, sha256)
    if config is None:
        return None, ()
    metric = column.published_metric or column.metric
    return config, references.lookup(
        config, column.benchmarks, heading.published, metric
    )


def _notes(record: Record, runs: Sequence[Record], in_row: int) -> list[str]:
    prefix = f"{record.identity.protocol}: " if in_row > 1 else ""
    notes = [prefix + warning for warning in record.warnings]
    for run in runs[1:]:
        notes += [
            f"{prefix}a rerun differs: {said}" for said in differing(runs[0], run)
        ]
    return notes


def _label(record: Record, all_of_model: Sequence[Record], heading: Heading) -> str:
    """Say what tells a record from the others of its model; empty if it is alone."""
    # What was imported says so in its deviations, and knows nothing to compare by.
    peers = [r for r in all_of_model if _imported(r) == _imported(record)]
    rivals = [r for r in peers if _claims_the_same(record, r, heading)]
    mine = _flat(record)
    others = [_flat(rival) for rival in rivals]
    shared = [_flat(peer) for peer in peers]
    # Beside the bundled scenes nothing was published that a run could leave.
    parts = [] if record.bundled else list(record.deviations)
    for place in sorted({p for flat in others for p in flat} - {_IMPORTED}):
        against = shared if place in _SHARED else others
        value = mine.get(place, _ABSENT)
        if any(flat.get(place, _ABSENT) != value for flat in against):
            part = f"{place.removeprefix('settings.')}={_short(value)}"
            if part not in parts:
                parts.append(part)
        elif place == "limit" and value is not None:
            parts.append(f"limit={value}")
    if record.partial:
        parts.append("partially loaded")
    return ", ".join(parts)


def _imported(record: Record) -> bool:
    """Say whether a record is the result of a run elsewhere."""
    return _IMPORTED in _flat(record)


def _claims_the_same(one: Record, other: Record, heading: Heading) -> bool:
    return one.identity.protocol == other.identity.protocol and any(
        (one.metric(column.metric) or _field(column.metric, one))
        and (other.metric(column.metric) or _field(column.metric, other))
        for column in heading.columns
        if column.protocol == one.identity.protocol
    )


def _flat(record: Record) -> dict[str, Any]:
    """Return the identity with nested mappings as dotted places; lists stay whole."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        else:
            flat[prefix] = value

    walk("", dataclasses.asdict(record.identity))
    return flat


def _short(value: Any) -> str:
    """Write a value so that it fits into a label and stays apart from others."""
    if value is _ABSENT:
        return "unset"
    text = value if isinstance(value, str) else canonical_json(value)
    if re.fullmatch(r"[0-9a-f]{32,}", text):
        return text[:8]
    return text if len(text) <= _LONGEST_LABEL else digest(value)[:8]
