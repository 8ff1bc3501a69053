"""Check a copy of Places205.

python tools/prepare_places205.py ROOT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare import prepare_places205

if __name__ == "__main__":
    sys.exit(prepare_places205())
