"""Check a copy of VOC 2012, and make the augmented list and its label maps.

python tools/prepare_voc12aug.py ROOT [--aug DIR]
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare_dense import prepare_voc12aug

if __name__ == "__main__":
    sys.exit(prepare_voc12aug())
