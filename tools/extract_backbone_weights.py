"""Take the backbone out of a checkpoint: ``ssl-bench extract`` under its old name.

python tools/extract_backbone_weights.py CHECKPOINT OUT
"""

from __future__ import annotations

import sys

from ssl_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["extract", *sys.argv[1:]]))
