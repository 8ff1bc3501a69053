"""Write the lists of 1 % and 10 % of ImageNet's training images.

python tools/prepare_imagenet_subsets.py ROOT [--official DIR]
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare import prepare_imagenet_subsets

if __name__ == "__main__":
    sys.exit(prepare_imagenet_subsets())
