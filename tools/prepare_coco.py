"""Check a copy of COCO 2017.

python tools/prepare_coco.py ROOT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare_dense import prepare_coco

if __name__ == "__main__":
    sys.exit(prepare_coco())
