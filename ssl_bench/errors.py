"""The one family of errors that a user may see, and the sentences they are made of.

    BenchError          exit code 1: the user's to mend
    ├── UsageError      exit code 2: the command line itself is wrong
    ├── ConfigError     all complaints about a config, together
    ├── CheckpointError a file that is damaged, unknown or incompletely loaded
    ├── DataError       a data set that is missing, empty or unreadable
    ├── FeatureError    features that no protocol can use
    └── RecordError     a record that cannot be read or written

A message says what is wrong (with the value and the place), what would be right, and
what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """Say what the user has to mend; shown as one line, exit code 1."""

    exit_code = 1


class UsageError(BenchError):
    """Report a command line that cannot be understood; exit code 2."""

    exit_code = 2


class ConfigError(BenchError):
    """Report every complaint about a config at once."""

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("; ".join(self.complaints))


class CheckpointError(BenchError):
    """Report a checkpoint that is damaged, unknown or incompletely loaded."""


class DataError(BenchError):
    """Report a data set that is missing, empty or unreadable."""


class FeatureError(BenchError):
    """Report features that no protocol can use."""


class RecordError(BenchError):
    """Report a record that cannot be read or written."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` known names that resemble ``name``, best first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Compose the sentence for a name that nobody knows.

    Args:
        kind: what the name stands for, as in "data set" or "config key".
        name: the name as the user wrote it.
        known: all names that would have been right.

    Returns:
        One sentence with the nearest names first and then the whole list.
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}"
