"""Command lines to type next, with the options that the user has already typed."""

from __future__ import annotations

import shlex

OUT = "OUT.pth"


def extract(path: str, **options: str | bool | None) -> str:
    """Return the line that extracts a file.

    Args:
        path: the file, as the user knows it.
        **options: ``--option value`` by name; None and False are left out.
    """
    words = ["ssl-bench", "extract", path, OUT]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(value)
    return shlex.join(words)
