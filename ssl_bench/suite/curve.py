"""The curve of a training run: every number of every checkpoint, as CSV and picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ssl_bench.errors import BenchError
from ssl_bench.files import atomic_write, atomic_write_text
from ssl_bench.progress import note
from ssl_bench.results.record import Metric
from ssl_bench.suite.cell import Cell
from ssl_bench.suite.pretrains import natural

NAME = "ssl_bench_curve"
COLUMNS = ("epoch", "checkpoint", "protocol", "metric", "value", "low", "high")

Interval = Callable[[Metric], tuple[float, float] | None]
"""Gives the ends of a metric's 95 % interval, where it has one."""


@dataclass(frozen=True)
class Point:
    """Hold one number of one checkpoint.

    Attributes:
        epoch: the number in the checkpoint's name.
        checkpoint: its file name.
        protocol: title of the suite's cell.
        metric: name.
        value: in the metric's unit.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
    """

    epoch: int
    checkpoint: str
    protocol: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None


class Curve:
    """Keep the curve of one folder; what an earlier run found stays in it.

    Args:
        folder: gets ``ssl_bench_curve.csv`` and ``.png``.
        interval: of a metric.

    Raises:
        BenchError: when a file of that name is there and is no curve.
    """

    def __init__(self, folder: Path, interval: Interval) -> None:
        self.table = folder / f"{NAME}.csv"
        self.picture = folder / f"{NAME}.png"
        self.interval = interval
        self.points = read_points(self.table) if self.table.exists() else []
        self._can_draw = True

    def add(self, epoch: int, checkpoint: str, cells: Iterable[Cell]) -> None:
        """Put the numbers of a checkpoint in, in place of earlier ones of its cells."""
        for cell in cells:
            if cell.record is None:
                continue
            own = checkpoint, cell.entry.title
            self.points = [p for p in self.points if (p.checkpoint, p.protocol) != own]
            for metric in cell.record.metrics:
                low, high = self.interval(metric) or (None, None)
                self.points.append(
                    Point(epoch, *own, metric.name, float(metric.value), low, high)
                )
        self.points.sort(key=lambda point: (point.epoch, natural(point.checkpoint)))

    def write(self) -> None:
        """Write table and picture, whole or not at all; nothing without a point.

        Raises:
            BenchError: when the folder cannot be written.
        """
        if not self.points:
            return
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS)
        for p in self.points:
            ends = ["" if end is None else repr(end) for end in (p.low, p.high)]
            first = (p.epoch, p.checkpoint, p.protocol, p.metric, repr(p.value))
            rows.writerow([*first, *ends])
        atomic_write_text(self.table, out.getvalue())
        if self._can_draw:
            self._can_draw = self._draw()

    def _draw(self) -> bool:
        """Draw the first metric of every protocol; False where nothing can draw."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            note(
                f"no picture beside {self.table.name}: matplotlib is not here; "
                "pip install 'ssl-bench[report]'"
            )
            return False
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for protocol, points in first_metrics(self.points).items():
            epochs = [point.epoch for point in points]
            values = [point.value for point in points]
            label = f"{protocol}: {points[0].metric}"
            (line,) = axes.plot(epochs, values, marker="o", label=label)
            ends = [p for p in points if p.low is not None and p.high is not None]
            if ends:
                axes.fill_between(
                    [p.epoch for p in ends],
                    [p.low or 0.0 for p in ends],
                    [p.high or 0.0 for p in ends],
                    color=line.get_color(),
                    alpha=0.15,
                    linewidth=0,
                )
        axes.set_xlabel("epoch or iteration")
        axes.set_ylabel("percent")
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_write(self.picture) as beside:
            figure.savefig(beside, format="png", dpi=120)
        return True


def first_metrics(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Return by protocol the points of its first metric, those of all checkpoints."""
    found: dict[str, list[Point]] = {}
    for point in points:
        line = found.setdefault(point.protocol, [])
        if not line or line[0].metric == point.metric:
            line.append(point)
    return found


def read_points(path: Path) -> list[Point]:
    """Read a curve that was written before.

    Raises:
        BenchError: for a file that is no curve.
    """
    said = (
        f"{path} is no curve of ssl-bench watch; move it away, or restore it: its "
        f"first line is {','.join(COLUMNS)}"
    )
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if tuple(header) != COLUMNS:
            raise BenchError(said)
        return [
            Point(
                int(epoch),
                checkpoint,
                protocol,
                metric,
                float(value),
                float(low) if low else None,
                float(high) if high else None,
            )
            for epoch, checkpoint, protocol, metric, value, low, high in rows
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise BenchError(f"{said} ({error})") from error
