"""Check a copy of ImageNet, and write the lists that it lacks.

python tools/prepare_imagenet.py ROOT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare import prepare_imagenet

if __name__ == "__main__":
    sys.exit(prepare_imagenet())
