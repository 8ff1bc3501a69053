"""Check copies of CIFAR-10 and CIFAR-100.

python tools/prepare_cifar.py ROOT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.prepare import prepare_cifar

if __name__ == "__main__":
    sys.exit(prepare_cifar())
