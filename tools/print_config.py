"""Print a config with its bases merged and its overrides applied.

python tools/print_config.py CONFIG [--cfg-options KEY=VALUE ...]
"""

from __future__ import annotations

import sys

from ssl_bench.cli.tools import print_config

if __name__ == "__main__":
    sys.exit(print_config())
