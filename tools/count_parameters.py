"""Count the parameters of a config's network, of a checkpoint or of an architecture.

python tools/count_parameters.py CONFIG
"""

from __future__ import annotations

import sys

from ssl_bench.cli.tools import count_parameters

if __name__ == "__main__":
    sys.exit(count_parameters())
