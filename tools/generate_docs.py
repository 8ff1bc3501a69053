"""Write the parts of the documentation that are made of the code.

python tools/generate_docs.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ssl_bench.checkpoints import description
from ssl_bench.files import atomic_write_text

PAGE = Path(__file__).parent.parent / "docs" / "checkpoints.md"
BEGIN, END = "<!-- layouts: begin -->", "<!-- layouts: end -->"


def main() -> int:
    """Write the table of layouts, or only compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    fresh = f"{head}{BEGIN}\n\n{description.table()}\n\n{END}{tail}"
    if args.check:
        if fresh != text:
            print(f"{PAGE} is stale; run python tools/generate_docs.py")
        return int(fresh != text)
    atomic_write_text(PAGE, fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
