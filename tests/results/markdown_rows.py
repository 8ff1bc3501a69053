"""Reading a Markdown table back, for the tests of this room."""

from __future__ import annotations


def body(text: str) -> list[list[str]]:
    """Return the cells of a Markdown text's table rows, without header and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split(" |")] for line in lines]
    return [
        row
        for row, following in zip(rows, [*rows[1:], [""]], strict=True)
        if not row[0].startswith(":-") and not following[0].startswith(":-")
    ]


def names(text: str) -> list[str]:
    return [row[0] for row in body(text)]
