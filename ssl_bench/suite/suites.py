"""Suite files: which cells one backbone is put through.

A suite is a small TOML file: a line ``about`` and a table ``[[cells]]`` for each cell,
with a ``protocol`` or a ``config`` and what is asked of it. Reading one imports nothing
heavy.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ssl_bench.errors import BenchError, ConfigError, unknown
from ssl_bench.openmmlab.reading import KNOWN_NAMES
from ssl_bench.resources import config_names, find_dir
from ssl_bench.training.names import known_config, known_names

SUFFIX = ".toml"
KEYS = ("about", "cells")
CELL_KEYS = ("protocol", "config", "title", "dataset", "features", "options")
WITH_FEATURES = ("svm", "lowshot")
"""Protocols whose command has ``--feature-list``."""

_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_WORD = re.compile(r"[^\s,\[\](){}'\"]+")
_READ_AS_MORE = {"true", "false", "none"}


@dataclass(frozen=True)
class Entry:
    """Hold one cell of a suite.

    Attributes:
        protocol: its name.
        title: what the cell is called, unique within the suite.
        config: by name or path; None takes the one that fits the data set.
        dataset: None takes the one that the single command takes.
        features: where features are taken, as ``--feature-list`` has it.
        options: overrides, as ``--cfg-options`` has them.
    """

    protocol: str
    title: str
    config: str | None = None
    dataset: str | None = None
    features: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """The options, and the features as the setting that they stand for."""
        if not self.features:
            return self.options
        return (*self.options, f"settings.features={','.join(self.features)}")

    def words(self, dataset: str | None) -> list[str]:
        """Return the words after ``ssl-bench`` that run this cell alone.

        Args:
            dataset: the data set of all cells; None leaves each its own.
        """
        found = [self.protocol]
        if self.config is not None:
            found.append(self.config)
        name = dataset or self.dataset
        if name is not None:
            found += ["--dataset", name]
        if self.features:
            found += ["--feature-list", *self.features]
        if self.options:
            found += ["--cfg-options", *self.options]
        return found


@dataclass(frozen=True)
class Suite:
    """Hold a suite.

    Attributes:
        name: of the file, without its ending.
        about: one line for people.
        entries: the cells, in the order in which they are run.
    """

    name: str
    about: str
    entries: tuple[Entry, ...]


def suite_names() -> dict[str, Path]:
    """Return every shipped suite by its name."""
    return {path.stem: path for path in sorted(find_dir("suites").glob(f"*{SUFFIX}"))}


def read_suite(name: str) -> Suite:
    """Read a suite.

    Args:
        name: of a shipped one, or the path of a file that ends in ``.toml``.

    Raises:
        BenchError: with the nearest names when there is none.
        ConfigError: with everything that is wrong with the file.
    """
    path = _find(name)
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BenchError(
            f"suite {path} cannot be read: {error.strerror or error}"
        ) from error
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise ConfigError([f"suite {path} is no TOML: {error}"]) from error
    complaints: list[str] = []
    entries = list(_entries(tree, path, complaints))
    about = tree.get("about")
    if not isinstance(about, str) or not about.strip() or "\n" in about.strip():
        complaints.append('about is missing or no line of text; write about = "..."')
    complaints += [unknown("key", key, KEYS) for key in tree if key not in KEYS]
    if complaints:
        raise ConfigError([f"{path.name}: {text}" for text in complaints])
    return Suite(path.stem, str(about).strip(), tuple(entries))


def _find(name: str) -> Path:
    path, known = Path(name).expanduser(), suite_names()
    if path.suffix == SUFFIX and path.is_file():
        return path
    bare = name.removesuffix(SUFFIX)
    if bare in known:
        return known[bare]
    if "/" in name:
        raise BenchError(
            f"suite file {name} does not exist, or does not end in {SUFFIX}; pass a "
            f"path, or one of {', '.join(known)}"
        )
    raise BenchError(unknown("suite", name, known))


def protocol_names() -> list[str]:
    """Return the names of all protocols, those of other packages included."""
    own = {path.parent.name for path in config_names().values()}
    others = {entry.name for entry in entry_points(group="ssl_bench.protocols")}
    return sorted(own | others)


def _entries(
    tree: Mapping[str, Any], path: Path, complaints: list[str]
) -> Iterator[Entry]:
    """Yield the cells, and add what is wrong with them to ``complaints``."""
    cells = tree.get("cells", [])
    if not isinstance(cells, list) or not all(isinstance(c, dict) for c in cells):
        complaints.append("cells is no list of tables; write [[cells]] above each cell")
        return
    if not cells:
        complaints.append('it has no cell; write [[cells]] and protocol = "knn"')
    protocols = protocol_names()
    titles: Counter[str] = Counter()
    for number, cell in enumerate(cells, start=1):
        wrong: list[str] = []
        entry = _entry(cell, path, protocols, wrong)
        titles[entry.title] += 1
        if entry.title and titles[entry.title] == 2:
            wrong.append(
                f"an earlier cell is called {entry.title!r} too; give it a title"
            )
        complaints += [f"cell {number}: {text}" for text in wrong]
        yield entry


def _entry(
    cell: Mapping[str, Any], path: Path, protocols: Sequence[str], wrong: list[str]
) -> Entry:
    wrong += [unknown("key", key, CELL_KEYS) for key in cell if key not in CELL_KEYS]
    texts = {}
    for key in ("protocol", "config", "title", "dataset"):
        value = cell.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            wrong.append(f"{key} = {value!r} is no text")
            value = None
        texts[key] = value
    protocol, config = texts["protocol"], texts["config"]
    if protocol is not None and protocol not in protocols:
        wrong.append(unknown("protocol", protocol, protocols))
    elif config is not None:
        config, protocol = _config(config, protocol, path, wrong)
    elif "protocol" not in cell and "config" not in cell:
        wrong.append('it has neither protocol nor config; write protocol = "knn"')
    title = texts["title"] or (Path(config).stem if config else protocol) or ""
    if title and not _TITLE.fullmatch(title):
        wrong.append(f"title = {title!r} may hold letters, digits and ._+- only")
    return Entry(
        protocol=protocol or "",
        title=title,
        config=config,
        dataset=texts["dataset"],
        features=_features(cell.get("features", []), protocol, wrong),
        options=_options(cell.get("options", {}), wrong),
    )


def _config(
    name: str, protocol: str | None, path: Path, wrong: list[str]
) -> tuple[str, str | None]:
    """Return how a config is named on the command line, and its protocol."""
    beside = path.parent / name
    if name.endswith(".py") and (beside.is_file() or Path(name).is_file()):
        if protocol is None:
            wrong.append(f'config = {name!r} is a file: write its protocol = "..." too')
        return str(beside if beside.is_file() else name), protocol
    bare, known = name.removesuffix(".py"), config_names()
    found = known.get(KNOWN_NAMES.get(bare, bare))
    if found is None:
        cell = known_config(bare)
        found = cell[0] if cell is not None else None
    if found is None:
        names = [*known, *known_names(), *KNOWN_NAMES]
        wrong.append(unknown("config", name, names if protocol is None else known))
        return name, protocol
    of = found.parent.name
    if protocol not in (None, of):
        wrong.append(f"config = {name!r} is one of {of}, not of {protocol}")
    return name, of


def _features(value: Any, protocol: str | None, wrong: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(name, str) and _WORD.fullmatch(name) for name in value
    ):
        wrong.append(f'features = {value!r} is no list of names, as in ["feat5"]')
        return ()
    if value and protocol is not None and protocol not in WITH_FEATURES:
        wrong.append(f"features are for {' and '.join(WITH_FEATURES)}, not {protocol}")
    return tuple(value)


def _options(value: Any, wrong: list[str]) -> tuple[str, ...]:
    """Return a table of overrides as KEY=VALUE words; tables in it are dotted keys."""
    if not isinstance(value, dict):
        wrong.append(f"options = {value!r} is no table, as in {{ topk = [10, 20] }}")
        return ()
    found = []
    for key, item in _flat(value):
        try:
            found.append(f"{key}={_text(item)}")
        except ValueError:
            wrong.append(
                f"options.{key} = {_shown(item)} cannot be written as KEY=VALUE; it "
                "may be a number, true, false, a word, or a list of them"
            )
    return tuple(found)


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in table.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{above}{key}.")
        else:
            yield f"{above}{key}", item


def _text(item: Any) -> str:
    """Write a value so that the command line reads it back as it is.

    Raises:
        ValueError: for what it would not.
    """
    if isinstance(item, bool | int | float):
        return repr(item)
    if isinstance(item, list):
        return f"[{','.join(map(_text, item))}]"
    if not isinstance(item, str) or not _WORD.fullmatch(item):
        raise ValueError
    if item.lower() in _READ_AS_MORE or _is_number(item):
        raise ValueError
    return item


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(item: Any) -> str:
    return str(item) if isinstance(item, datetime.date | datetime.time) else repr(item)
