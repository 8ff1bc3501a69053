"""The tools that prepare data sets with boxes, masks or label maps.

They have the names that users of OpenMMLab expect. The exit code is 0 if the copy is
complete, 1 if something is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.cli.tools import _guarded, _parser

if TYPE_CHECKING:
    from ssl_bench.data.dense_report import Known

COCO = """\
check a copy of COCO 2017

ROOT is the folder with annotations/, train2017/ and val2017/, or the one above it.
Both annotation files are read; nothing is written.
"""
VOC12AUG = """\
check a copy of VOC 2012, and make the augmented list and its label maps

ROOT is the folder with VOCdevkit/, this folder, or the VOC2012/ in it. Where they are
missing, SegmentationClassAug/ is made of the .mat files of the Semantic Boundaries
Dataset, and ImageSets/Segmentation/aug.txt lists its images that are neither in
train.txt nor in val.txt. What is there is left as it is.
"""
CITYSCAPES = """\
check a copy of Cityscapes, and make its label maps

ROOT is the folder with leftImg8bit/ and gtFine/, or the one above it. A
*_gtFine_labelTrainIds.png is made of each *_gtFine_labelIds.png that has none: 19
classes count, all else is 255.
"""


def prepare_coco(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_coco.py``; return the exit code."""

    def write(home: Path, args: argparse.Namespace) -> list[str]:
        del home, args
        return []

    return _prepared("prepare_coco.py", COCO, "COCO", write, argv)


def prepare_voc12aug(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_voc12aug.py``; return the exit code."""

    def write(home: Path, args: argparse.Namespace) -> list[str]:
        from ssl_bench.data.dense_sbd import complete

        return complete(home, args.aug)

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--aug",
            metavar="DIR",
            type=Path,
            help="benchmark_RELEASE, the folder with dataset/cls/*.mat (default: the "
            "one beside VOC2012/ or VOCdevkit/)",
        )

    return _prepared("prepare_voc12aug.py", VOC12AUG, "VOC12AUG", write, argv, add)


def prepare_cityscapes(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_cityscapes.py``; return the exit code."""

    def write(home: Path, args: argparse.Namespace) -> list[str]:
        del args
        from ssl_bench.data.dense_cityscapes import write_train_ids

        count = write_train_ids(home)
        return [f"wrote {count} label maps below {home / 'gtFine'}"] if count else []

    return _prepared("prepare_cityscapes.py", CITYSCAPES, "CITYSCAPES", write, argv)


def _prepared(
    program: str,
    text: str,
    name: str,
    write: Callable[[Path, argparse.Namespace], list[str]],
    argv: Sequence[str] | None,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Write what can be written, and check what is there then."""

    def run() -> int:
        parser = _parser(program, text)
        parser.add_argument("root", metavar="ROOT", type=Path)
        if add is not None:
            add(parser)
        args = parser.parse_args(argv)
        from ssl_bench.data import dense_report

        known: Known = getattr(dense_report, name)
        home = dense_report.home(args.root, known)
        for sentence in write(home, args):
            print(sentence, file=sys.stderr)
        report = dense_report.check(home, known)
        print(dense_report.render(report, known))
        if not report.complete:
            print(f"  and then: python tools/{program} {args.root}")
        return int(not report.complete)

    return _guarded(program, run)
