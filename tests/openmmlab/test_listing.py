"""The tables of recipes in the documentation are those of the configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench.openmmlab import listing, reading


@pytest.mark.parametrize("protocol", ["detect", "segment"])
def test_the_table_of_recipes_is_fresh(protocol: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "protocols" / f"{protocol}.md"
    assert listing.table(protocol) in page.read_text(), "python tools/generate_docs.py"
    rows = listing.table(protocol).splitlines()[2:]
    assert len(rows) == len(reading.recipes(protocol))
