"""What is printed of a batch: the plan before the work, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ssl_bench.progress import note
from ssl_bench.results.record import Metric
from ssl_bench.suite.cell import FAILED, FINISHED, Cell

_SHOWN = 4
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def plan_table(cells: Sequence[Cell]) -> str:
    """Return the cells with what each will need, as aligned text."""
    rows = [("model", "cell", "config", "data set", "state", "images", "estimate")]
    for cell in cells:
        images = f"{cell.images}" if cell.images else ""
        if cell.shared_with:
            images += f"{' and ' if images else ''}with {', '.join(cell.shared_with)}"
        ended = cell.state in (FINISHED, FAILED)
        rows.append(
            (
                cell.model,
                cell.entry.title,
                cell.config or "-",
                cell.dataset or "-",
                cell.state,
                "-" if ended else images or "-",
                "-" if ended else duration(cell.seconds) or "solver only",
            )
        )
    return aligned(rows)


def plan_notes(cells: Sequence[Cell]) -> list[str]:
    """Return what a reader of the plan has to know, one sentence each."""
    todo = [cell for cell in cells if cell.state not in (FINISHED, FAILED)]
    known = [cell.seconds for cell in todo if cell.seconds is not None]
    unknown = len(todo) - len(known)
    found = []
    if todo:
        rest = f", {unknown} of unknown time" if unknown else ""
        found.append(
            f"{len(todo)} of {len(cells)} cells to do: "
            f"{duration(sum(known)) or 'nothing'} of extraction and training{rest}; "
            "solvers take their time besides"
        )
    else:
        failed = sum(cell.state == FAILED for cell in cells)
        found.append(f"nothing to do: {len(cells) - failed} finished, {failed} failed")
    return found


def summary_table(cells: Sequence[Cell]) -> str:
    """Return the cells with the main number of each, as aligned text."""
    rows = [("model", "cell", "data set", "result", "state")]
    rows += [
        (
            cell.model,
            cell.entry.title,
            cell.dataset or "-",
            main_number(cell) or "-",
            cell.state,
        )
        for cell in cells
    ]
    return aligned(rows)


def say_result(cell: Cell) -> None:
    """Tell the user what came of a cell; why one failed was said already."""
    if cell.state == FINISHED:
        note(f"{cell.entry.title}: {main_number(cell)}")


def failures(cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for each reason why cells failed, with the cells."""
    labels: dict[str, list[str]] = {}
    for cell in cells:
        if cell.state == FAILED:
            labels.setdefault(cell.error, []).append(cell.label)
    return [
        f"FAILED: {', '.join(names[:_SHOWN])}"
        f"{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}: {error}"
        for error, names in labels.items()
    ]


def main_number(cell: Cell) -> str:
    """Return the metric that is to be read first, as in ``mAP 66.86``."""
    if cell.record is None or not cell.record.metrics:
        return ""
    metric: Metric = cell.record.metrics[0]
    percent = metric.unit == "percent"
    value = f"{metric.value:.2f}" if percent else f"{metric.unit}{metric.value:g}"
    return f"{metric.name} {value}"


def to_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return all that is known of the cells, as plain JSON."""
    return [
        {
            "model": cell.model,
            "pretrain": cell.pretrain.pretrain,
            "cell": cell.entry.title,
            "protocol": cell.entry.protocol,
            "config": cell.config or None,
            "dataset": cell.dataset or None,
            "key": cell.key or None,
            "state": cell.state,
            "images": cell.images,
            "shared_with": list(cell.shared_with),
            "seconds": None if cell.seconds is None else round(cell.seconds, 3),
            "error": cell.error or None,
            "record": None if cell.record is None else cell.record.to_json(),
        }
        for cell in cells
    ]


def duration(seconds: float | None) -> str:
    """Return a time as people say it, as in ``about 3 min``; nothing for none."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "about 1 s" if seconds else ""
    for size, name in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {name}"
    return f"about {seconds:.0f} s"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text with their columns below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
