"""Write the parts of the documentation that are made of the code.

python tools/generate_docs.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ssl_bench.checkpoints import description
from ssl_bench.files import atomic_write_text
from ssl_bench.openmmlab import listing
from ssl_bench.training import choice

DOCS = Path(__file__).parent.parent / "docs"


def main() -> int:
    """Write the tables of layouts and recipes, or only compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    parts = [(DOCS / "checkpoints.md", "layouts", description.table())]
    parts += [
        (DOCS / "protocols" / f"{protocol}.md", "recipes", choice.table(protocol))
        for protocol in ("linear", "semi", "finetune")
    ]
    parts += [
        (DOCS / "protocols" / f"{protocol}.md", "recipes", listing.table(protocol))
        for protocol in ("detect", "segment")
    ]
    stale = 0
    for page, part, table in parts:
        text = page.read_text()
        fresh = _replaced(text, part, table)
        if fresh == text:
            continue
        stale = 1
        if args.check:
            print(f"{page} is stale; run python tools/generate_docs.py")
        else:
            atomic_write_text(page, fresh)
    return stale if args.check else 0


def _replaced(text: str, part: str, table: str) -> str:
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n\n{table}\n\n{end}{tail}"


if __name__ == "__main__":
    sys.exit(main())
