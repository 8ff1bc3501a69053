"""Write a checkpoint for others, without the optimiser, its digest in the name.

python tools/publish_model.py IN OUT
"""

from __future__ import annotations

import sys

from ssl_bench.cli.tools import publish_model

if __name__ == "__main__":
    sys.exit(publish_model())
