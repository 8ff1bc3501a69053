r"""Check a copy of PASCAL VOC 2007, and fetch or unpack what is missing.

    python tools/prepare_voc07.py data
    python tools/prepare_voc07.py data --archives VOCtrainval_06-Nov-2007.tar \
        VOCtest_06-Nov-2007.tar
    python tools/prepare_voc07.py data --download

ROOT is the folder with VOCdevkit/, or this folder, or the VOC2007/ in it. Checked are
the numbers of images, image files, positives and ignored entries, and the labels
against the annotations. The exit code is 0 if all of it is right.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ssl_bench.data import voc07_archives, voc07_check
from ssl_bench.errors import BenchError, DataError


def prepare(root: Path, archives: list[Path], download: bool) -> bool:
    """Fetch, unpack and check.

    Returns:
        Whether the copy is complete.
    """
    if download and not _is_complete(root):
        above = voc07_archives.folder_above(root)
        archives = [*archives, *voc07_archives.download(above)]
    if archives:
        voc07_archives.unpack(archives, root)
    report = voc07_check.check(root)
    print(voc07_check.render(report))
    return report.complete


def _is_complete(root: Path) -> bool:
    try:
        return voc07_check.check(root).complete
    except DataError:
        return False


def main() -> int:
    """Read the command line and prepare the data set.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="ROOT", type=Path)
    parser.add_argument(
        "--archives",
        metavar="FILE",
        nargs="+",
        type=Path,
        default=[],
        help="unpack these tar files below ROOT first",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch the official archives (880 MB) into ROOT and unpack them first",
    )
    args = parser.parse_args()
    try:
        complete = prepare(args.root, args.archives, args.download)
    except BenchError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same line goes on", file=sys.stderr)
        return 130
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
