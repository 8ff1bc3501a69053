"""Check a copy of Cityscapes, and make its label maps.

python tools/prepare_cityscapes.py ROOT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare_dense import prepare_cityscapes

if __name__ == "__main__":
    sys.exit(prepare_cityscapes())
