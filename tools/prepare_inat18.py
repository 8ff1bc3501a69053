"""Check a copy of iNaturalist 2018, and write its lists.

python tools/prepare_inat18.py ROOT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare import prepare_inat18

if __name__ == "__main__":
    sys.exit(prepare_inat18())
