"""Published figures: read once, and found by an exact config name or a known sha256.

The figures are `results/references/published_results.csv`; its neighbour
`checkpoints.csv` says which published file belongs to which config. Nothing here is
ever written into a record: ours and theirs meet in the tables only.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ssl_bench.errors import RecordError
from ssl_bench.results.record import Reference

FIGURES = "published_results.csv"
CHECKPOINTS = "checkpoints.csv"
_COLUMNS = (
    "source_path",
    "algorithm",
    "config",
    "benchmark",
    "dataset",
    "metric",
    "value",
)
_CHECKPOINT_COLUMNS = ("sha256", "config", "source_path")
_TEXT_METRICS = {"best_layer", "best_setting"}

# A config's name says what it was trained on or is the path of a config file. Others
# ("resnet50", "ViT-B", "200 epochs") name a row within one paper, not one checkpoint.
_CONFIG_NAME = re.compile(r"[\w.+-]+_in\d+k[\w.+-]*|[\w./+-]+\.py")
_SHA256_START = re.compile(r"[0-9a-f]{8,64}")


class References:
    """Hold published figures and find those of one model.

    Args:
        figures: all of them, in the order of the file.
        checkpoints: the start of a file's sha256 (8 digits or more), and its config.
    """

    def __init__(
        self, figures: Iterable[Reference], checkpoints: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._figures: dict[tuple[str, str, str, str], list[Reference]] = {}
        for figure in figures:
            key = (figure.config, figure.benchmark, figure.dataset, figure.metric)
            self._figures.setdefault(key, []).append(figure)
        self._configs = {key[0] for key in self._figures if is_config_name(key[0])}
        self._checkpoints = tuple(checkpoints)

    def config_of(self, name: str, sha256: str) -> str | None:
        """Return the published config of a model, or None.

        Args:
            name: the model's name; it counts when it is exactly a config's name.
            sha256: of the checkpoint file; it decides where it is known.
        """
        for start, config in self._checkpoints:
            if sha256.startswith(start):
                return config
        return name if name in self._configs else None

    def lookup(
        self, config: str, benchmarks: Sequence[str], dataset: str, metric: str
    ) -> tuple[Reference, ...]:
        """Return the published figures of one cell.

        Figures of other sources that say the same are dropped; where sources disagree,
        all stay, in the order of the benchmarks and then of the file.
        """
        found: dict[float | str, Reference] = {}
        for benchmark in benchmarks:
            for figure in self._figures.get((config, benchmark, dataset, metric), ()):
                found.setdefault(figure.value, figure)
        return tuple(found.values())


def is_config_name(text: str) -> bool:
    """Say whether a published row is named by a config, and not only within a paper."""
    return _CONFIG_NAME.fullmatch(text) is not None


def load_references(folder: Path | None = None) -> References:
    """Read the published figures.

    Args:
        folder: where the files are; by default those that come with the package.

    Raises:
        RecordError: when a file is missing or a row of it is not as it should be.
    """
    if folder is None:
        from ssl_bench.resources import find_dir

        folder = find_dir("references")
    figures = [
        _figure(row, f"{folder / FIGURES} line {line}")
        for line, row in _rows(folder / FIGURES, _COLUMNS)
    ]
    checkpoints = [
        (_start(row["sha256"], f"{folder / CHECKPOINTS} line {line}"), row["config"])
        for line, row in _rows(folder / CHECKPOINTS, _CHECKPOINT_COLUMNS)
    ]
    return References(figures, checkpoints)


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV file with their line numbers."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != columns:
                raise RecordError(
                    f"{path} has the columns {', '.join(reader.fieldnames or ())}; "
                    f"they should be {', '.join(columns)}"
                )
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    for line, row in rows:
        if None in row or not all(row.values()):
            raise RecordError(f"{path} line {line} has an empty or superfluous cell")
    return rows


def _figure(row: dict[str, str], where: str) -> Reference:
    value: float | str = row["value"]
    if row["metric"] not in _TEXT_METRICS:
        try:
            value = float(value)
        except ValueError as error:
            raise RecordError(f"{where}: {value!r} is no number") from error
    return Reference(
        algorithm=row["algorithm"],
        config=row["config"],
        benchmark=row["benchmark"],
        dataset=row["dataset"],
        metric=row["metric"],
        value=value,
        source=row["source_path"],
    )


def _start(sha256: str, where: str) -> str:
    if not _SHA256_START.fullmatch(sha256):
        raise RecordError(
            f"{where}: {sha256!r} is not the start of a sha256 (8 to 64 hex digits)"
        )
    return sha256
