"""How long ``ssl-bench --help`` takes, as a process, beside a bare Python.

python -m benchmarks.speed.startup
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.speed import measure


def main() -> None:
    """Run the measurement and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    runs = measure.interleaved(
        {
            "help": lambda: run("-m", "ssl_bench", "--help"),
            "bare_python": lambda: run("-c", "pass"),
        },
        args.repeats,
    )
    report = {
        "what": "ssl-bench --help, whole process",
        "seconds": {name: measure.spread(found.wall) for name, found in runs.items()},
        "help_over_bare_python": measure.ratio(runs["help"], runs["bare_python"]),
        "machine": measure.machine(()),
    }
    measure.write("startup", report, args.out)


if __name__ == "__main__":
    main()
