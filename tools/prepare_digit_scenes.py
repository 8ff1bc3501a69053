"""Write digit-scenes, the bundled data set, below a folder.

    python tools/prepare_digit_scenes.py data/digit-scenes --styles imagenet voc

ImageNet style below OUT/imagenet, VOC 2007 below OUT/VOCdevkit, COCO below OUT/coco. A
style that is there already is left alone; the rest is added.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ssl_bench.data import scenes
from ssl_bench.errors import BenchError

EVERY = 1000  # pictures between two lines of progress


def show(done: int, total: int) -> None:
    """Print a line of progress now and then."""
    if done % EVERY == 0 or done == total:
        print(f"{done} of {total} pictures", file=sys.stderr)


def main() -> int:
    """Read the command line and write the scenes.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--seed", type=int, default=scenes.DEFAULT_SEED)
    parser.add_argument(
        "--styles", nargs="+", default=scenes.STYLES, help=" ".join(scenes.STYLES)
    )
    args = parser.parse_args()
    try:
        scenes.generate(args.out, seed=args.seed, styles=args.styles, progress=show)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
