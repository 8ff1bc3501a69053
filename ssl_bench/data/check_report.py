"""What the check of a copy of a data set found, and how it is shown."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

_WIDTH = 88


@dataclass(frozen=True)
class Line:
    """Say one thing that was looked at.

    Attributes:
        what: a few words.
        expected: what a complete copy has.
        found: what this one has.
        details: every deviation, in a few words each.
        advice: what to do about it; empty where it is right.
    """

    what: str
    expected: str
    found: str
    details: tuple[str, ...] = ()
    advice: str = ""

    @property
    def right(self) -> bool:
        """Whether it is as it should be."""
        return not self.advice


@dataclass(frozen=True)
class Report:
    """Hold everything that was looked at.

    Attributes:
        root: the folder of the data set.
        lines: in the order of the splits.
    """

    root: Path
    lines: tuple[Line, ...]

    @property
    def complete(self) -> bool:
        """Whether everything is as it should be."""
        return all(line.right for line in self.lines)


def render(report: Report, title: str, complete: str) -> str:
    """Return a table for a terminal, what deviates, and what to do about it.

    Args:
        report: what was found.
        title: the first line.
        complete: the last line where nothing deviates.
    """
    rows = [("", "", "expected", "found")] + [
        ("ok" if x.right else "WRONG", x.what, x.expected, x.found)
        for x in report.lines
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    text = [title, ""]
    text += [
        f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]
    wrong = [line for line in report.lines if not line.right]
    for line in wrong:
        if line.details:
            text += ["", *_wrapped(f"{line.what}: {'; '.join(line.details)}")]
    text.append("")
    if not wrong:
        return "\n".join([*text, complete])
    advice = dict.fromkeys(line.advice for line in wrong)
    return "\n".join([*text, "to do:", *(f"  {sentence}" for sentence in advice)])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
