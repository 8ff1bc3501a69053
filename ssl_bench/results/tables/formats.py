"""How sections are written: Markdown, CSV, LaTeX and JSON, with every cell escaped.

Markdown and LaTeX are for readers: one table per section, ours with the published
figure and the difference behind it, notes below. CSV and JSON are for machines: all
sections in one, numbers apart from their marks, with the half-width of a 95 % interval
where a metric is a proportion of counted images.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ssl_bench.metrics import metric_interval
from ssl_bench.results.record import Metric, Reference
from ssl_bench.results.tables.headings import CONFIG_COLUMN
from ssl_bench.results.tables.rows import Cell, Row, Section

_DAGGER = "†"
_CHOSEN_HERE = "chosen on the split that it reports"
_ABOUT_PUBLISHED = (
    "published: the figure of this config or of this checkpoint's sha256 in "
    "results/references, followed by ours minus it"
)
_ABOUT_BUNDLED = (
    "Bundled scenes: these figures say that the pipeline works. They compare with "
    "nothing that was published and stand in no table of real models."
)
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # behind \\ or \midrule a bracket would open an option
    "]": "{]}",
    '"': r"\textquotedbl{}",
    "†": r"\dag{}",
    "−": r"\ensuremath{-}",
}


@dataclass(frozen=True)
class _Printed:
    """Hold a section as escaped text: header, body and notes."""

    title: str
    intro: str
    header: list[str]
    body: list[list[str]]
    notes: list[str]


def write(sections: Sequence[Section], fmt: str) -> str:
    """Write sections in one of `FORMATS`, ending with one newline."""
    return FORMATS[fmt](sections)


def escape_markdown(text: str) -> str:
    """Write ``text`` so that Markdown and HTML show exactly it, on one line.

    An underscore inside a word is left alone: it opens no emphasis there, and config
    names stay readable.
    """
    kept = re.sub(r"([\\`*\[\]|~$])", r"\\\1", _one_line(text))
    kept = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", kept)
    return html.escape(kept, quote=False)


def escape_tex(text: str) -> str:
    """Write ``text`` so that LaTeX sets exactly it."""
    return "".join(_TEX.get(letter, letter) for letter in _one_line(text))


def interval(metric: Metric) -> tuple[float, float] | None:
    """Return the ends of Wilson's 95 % interval, in percent.

    Only for accuracies (``top1...``, ``top5...``) of one run: they are proportions of
    the counted images. A mean over classes, such as mAP or mIoU, is not.
    """
    accuracy = re.match(r"top\d", metric.name) and metric.unit == "percent"
    if not accuracy or metric.count < 1 or metric.values:
        return None
    return metric_interval(metric.value, metric.count)


def half_width(metric: Metric) -> float | None:
    """Return half the width of the metric's interval, where it has one."""
    ends = interval(metric)
    return None if ends is None else (ends[1] - ends[0]) / 2


def _one_line(text: str) -> str:
    """Replace line ends by blanks and drop what no printer can show."""
    flat = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in flat)


# --- cells -------------------------------------------------------------------------


def number(metric: Metric) -> str:
    """Write a metric as a table shows it: ``61.87``, or ``feature5``."""
    if metric.unit == "percent":
        return f"{metric.value:.2f}"
    return f"{metric.unit}{metric.value:g}"


def _difference(metric: Metric, reference: Reference) -> str:
    """Return ours minus theirs of the two numbers as they are printed."""
    if isinstance(reference.value, str):
        return ""
    printed = Decimal(f"{metric.value:.2f}") - Decimal(repr(reference.value))
    text = f"{printed:+.2f}"
    return "0.00" if not Decimal(text) else text.replace("-", "−")


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    own = cell.text if cell.metric is None else number(cell.metric)
    mark = _DAGGER if cell.chosen_here else ""
    if not cell.published:
        return own + mark
    published = " / ".join(str(reference.value) for reference in cell.published)
    differences = []
    if cell.metric is not None:
        differences = [_difference(cell.metric, r) for r in cell.published]
    joined = " / ".join(text for text in differences if text)
    return f"{own}{mark} (published {published}{', ' if joined else ''}{joined})"


# --- Markdown and LaTeX ------------------------------------------------------------


def _print(
    section: Section, escape: Callable[[str], str], mark: Callable[[int], str]
) -> _Printed:
    """Turn a section into text.

    Args:
        section: what to print.
        escape: applied to every text.
        mark: writes the number of a note.
    """
    numbered: dict[str, int] = {}
    body = []
    for row in section.rows:
        name = escape(f"{row.name} ({row.label})" if row.label else row.name)
        for note in dict.fromkeys(row.notes):
            name += " " + mark(numbered.setdefault(note, len(numbered) + 1))
        body.append([name, *(escape(_shown(cell)) for cell in row.cells)])
    cells = [cell for row in section.rows for cell in row.cells if cell]
    notes = []
    if any(cell.published for cell in cells):
        notes.append(escape(_ABOUT_PUBLISHED))
    if any(cell.chosen_here for cell in cells):
        notes.append(escape(f"{_DAGGER} {_CHOSEN_HERE}"))
    notes += [f"{mark(number)} {escape(note)}" for note, number in numbered.items()]
    titles = [section.heading.name_title, *(c.title for c in section.heading.columns)]
    return _Printed(
        title=escape(_title(section)),
        intro=escape(_ABOUT_BUNDLED) if section.bundled else "",
        header=[escape(title) for title in titles],
        body=body,
        notes=notes,
    )


def _title(section: Section) -> str:
    versions = ", ".join(
        f"{name} version {number}" for name, number in section.versions
    )
    title = f"{section.heading.title} ({versions})"
    if section.superseded:
        title += ", superseded"
    return f"Bundled scenes: {title}" if section.bundled else title


def _markdown(sections: Sequence[Section]) -> str:
    import pandas as pd

    blocks = []
    for section in sections:
        printed = _print(section, escape_markdown, lambda number: f"[{number}]")
        frame = pd.DataFrame(printed.body, columns=printed.header, dtype=object)
        table = frame.to_markdown(
            index=False,
            tablefmt="pipe",
            disable_numparse=True,
            colalign=["left"] + ["right"] * (len(printed.header) - 1),
        )
        notes = "\n".join(f"- {note}" for note in printed.notes)
        blocks += [f"### {printed.title}", printed.intro, table, notes]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _latex(sections: Sequence[Section]) -> str:
    import pandas as pd

    blocks = ["% needs \\usepackage{booktabs,textcomp}"]
    for section in sections:
        printed = _print(section, escape_tex, lambda number: f"{{[}}{number}{{]}}")
        frame = pd.DataFrame(printed.body, columns=printed.header, dtype=object)
        text = frame.to_latex(
            index=False,
            escape=False,
            caption=f"{printed.title}. {printed.intro}".rstrip(". "),
            column_format="l" + "r" * (len(printed.header) - 1),
        )
        notes = "".join(f"\\par {note}\n" for note in printed.notes)
        end = "\\end{tabular}\n"
        text = text.replace(
            end, f"{end}{{\\footnotesize\n{notes}}}\n" if notes else end
        )
        blocks.append(text.rstrip("\n"))
    return "\n\n".join(blocks) + "\n"


# --- CSV and JSON ------------------------------------------------------------------


def _csv(sections: Sequence[Section]) -> str:
    import pandas as pd

    lines: list[dict[str, str]] = []
    for section in sections:
        for row in section.rows:
            lines.append(_csv_line(section, row))
    frame = pd.DataFrame(lines, columns=_csv_columns(sections, lines), dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")


def _csv_line(section: Section, row: Row) -> dict[str, str]:
    line = {
        "Table": section.table,
        "Dataset": section.dataset,
        "Version": "; ".join(f"{name} {number}" for name, number in section.versions),
        "Bundled": "yes" if section.bundled else "",
        CONFIG_COLUMN: row.name,
        "Differs in": row.label,
        "Chosen on the reported split": "; ".join(
            column.title
            for column, cell in zip(section.heading.columns, row.cells, strict=True)
            if cell and cell.chosen_here
        ),
        "Notes": "; ".join(row.notes),
    }
    for column, cell in zip(section.heading.columns, row.cells, strict=True):
        line |= {
            f"{column.title}{what}": text for what, text in _csv_cell(cell).items()
        }
    return line


def _csv_cell(cell: Cell | None) -> dict[str, str]:
    """Return the values of a cell by what is put behind the column's title."""
    if cell is None:
        return {}
    if cell.metric is None:
        values = {"": cell.text}
    else:
        values = {"": number(cell.metric)}
        width = half_width(cell.metric)
        if width is not None:
            values[" ±"] = f"{width:.2f}"
        if cell.metric.std is not None:
            values[" std"] = f"{cell.metric.std:.2f}"
        differences = [_difference(cell.metric, p) for p in cell.published]
        if any(differences):
            values[" difference"] = "; ".join(d.replace("−", "-") for d in differences)
    if cell.published:
        values[" published"] = "; ".join(str(p.value) for p in cell.published)
    return values


def _csv_columns(
    sections: Sequence[Section], lines: Sequence[dict[str, str]]
) -> list[str]:
    """Return the headings in their order, each followed by what is known about it."""
    used = {column for line in lines for column in line}
    front = ["Table", "Dataset", "Version", "Bundled", CONFIG_COLUMN, "Differs in"]
    middle: dict[str, None] = {}
    for section in sections:
        for column in section.heading.columns:
            middle[column.title] = None
            for what in (" ±", " std", " published", " difference"):
                if column.title + what in used:
                    middle[column.title + what] = None
    return [*front, *middle, "Chosen on the reported split", "Notes"]


def _json(sections: Sequence[Section]) -> str:
    payload = [_json_section(section) for section in sections]
    return json.dumps(payload, indent=2, ensure_ascii=False) + "\n"


def _json_section(section: Section) -> dict[str, Any]:
    columns = section.heading.columns
    return {
        "table": section.table,
        "title": section.heading.title,
        "dataset": section.dataset,
        "versions": dict(section.versions),
        "superseded": section.superseded,
        "bundled": section.bundled,
        "columns": [section.heading.name_title, *(column.title for column in columns)],
        "rows": [
            {
                "name": row.name,
                "differs_in": row.label,
                "keys": [record.key for record in row.records],
                "cells": {
                    column.title: _json_cell(cell)
                    for column, cell in zip(columns, row.cells, strict=True)
                    if cell is not None
                },
                "notes": list(row.notes),
            }
            for row in section.rows
        ],
    }


def _json_cell(cell: Cell) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if cell.metric is None:
        found["text"] = cell.text
    else:
        metric = cell.metric
        width = half_width(metric)
        found |= {
            "metric": metric.name,
            "value": round(metric.value, 2),
            "unit": metric.unit,
            "split": metric.split,
            "count": metric.count,
            "chosen_on_the_reported_split": cell.chosen_here,
        }
        if width is not None:
            found["half_width_95"] = round(width, 2)
        if metric.std is not None:
            found["std"] = round(metric.std, 2)
    if cell.published:
        found["published"] = [_json_reference(cell, p) for p in cell.published]
    return found


def _json_reference(cell: Cell, reference: Reference) -> dict[str, Any]:
    found: dict[str, Any] = {"value": reference.value, "source": reference.source}
    if cell.metric is not None and not isinstance(reference.value, str):
        found["difference"] = float(
            _difference(cell.metric, reference).replace("−", "-")
        )
    return found


FORMATS: dict[str, Callable[[Sequence[Section]], str]] = {
    "md": _markdown,
    "csv": _csv,
    "tex": _latex,
    "json": _json,
}
"""The writers by the ending of the files they write."""
