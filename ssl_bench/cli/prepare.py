"""The tools that check a data set's folder and write its lists.

They keep the names that OpenSelfSup and MMSelfSup users know. The exit code is 0 if the
copy is complete, 1 if something is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.cli.tools import _guarded, _parser
from ssl_bench.errors import DataError

if TYPE_CHECKING:
    from ssl_bench.data.list_check import Known
    from ssl_bench.data.subset_lists import Made

IMAGENET = """\
check a copy of ImageNet, and write the lists that it lacks

ROOT is the folder with train/ and val/, or the one above it. meta/train.txt and
meta/val.txt are written where they are missing and the images lie in class folders.
Lists that are there are left as they are.
"""
PLACES205 = """\
check a copy of Places205

ROOT is the folder where the two archives are unpacked, or the one above it. Its lists
are read as they are distributed; nothing is written.
"""
INAT18 = """\
check a copy of iNaturalist 2018, and write its lists

ROOT is the folder with train_val2018/, train2018.json and val2018.json, or the one
above it. meta/train.txt and meta/val.txt are written where they are missing.
"""
CIFAR = """\
check copies of CIFAR-10 and CIFAR-100

ROOT is the folder with cifar-10-batches-py/ or cifar-100-python/, or one of the two.
"""
SUBSETS = """\
write the lists of 1 % and 10 % of ImageNet's training images

ROOT is the folder with train/ and meta/train.txt, or the one above it. Written are
meta/train_1percent.txt and meta/train_10percent.txt, and a file beside each that says
where it comes from. Published numbers are those of SimCLR's lists: give the folder
imagenet_subsets of github.com/google-research/simclr with --official. Without it, lists
are drawn class by class from a seed, and are not comparable.
"""


def prepare_imagenet(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_imagenet.py``; return the exit code."""

    def write(home: Path) -> dict[str, Path]:
        from ssl_bench.data.list_writing import write_folder_lists

        return write_folder_lists(home)

    return _listed("prepare_imagenet.py", IMAGENET, "IMAGENET", write, argv)


def prepare_places205(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_places205.py``; return the exit code."""
    return _listed("prepare_places205.py", PLACES205, "PLACES205", _nothing, argv)


def prepare_inat18(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_inat18.py``; return the exit code."""

    def write(home: Path) -> dict[str, Path]:
        from ssl_bench.data.list_writing import write_inat18_lists

        return write_inat18_lists(home)

    return _listed("prepare_inat18.py", INAT18, "INAT18", write, argv)


def prepare_cifar(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_cifar.py``; return the exit code."""

    def run() -> int:
        parser = _parser("prepare_cifar.py", CIFAR)
        parser.add_argument("root", metavar="ROOT", type=Path)
        parser.add_argument(
            "--dataset",
            choices=("cifar10", "cifar100"),
            help="the one to check; without it, all that are there",
        )
        args = parser.parse_args(argv)
        from ssl_bench.data import catalogue
        from ssl_bench.data.list_check import CIFAR10, CIFAR100

        known = [k for k in (CIFAR10, CIFAR100) if args.dataset in (None, k.dataset)]
        if args.dataset is None:
            there = [k for k in known if _is_there(catalogue.find_root, k, args.root)]
            if not there:
                advice = " or ".join(k.advice["train"] for k in known)
                raise DataError(
                    f"there is neither CIFAR-10 nor CIFAR-100 in {args.root}: {advice}"
                )
            known = there
        return max(_checked(args.root, k, "prepare_cifar.py") for k in known)

    return _guarded("prepare_cifar.py", run)


def prepare_imagenet_subsets(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/prepare_imagenet_subsets.py``; return the exit code."""

    def run() -> int:
        parser = _parser("prepare_imagenet_subsets.py", SUBSETS)
        parser.add_argument("root", metavar="ROOT", type=Path)
        parser.add_argument(
            "--official",
            metavar="DIR",
            type=Path,
            help="folder with SimCLR's 1percent.txt and 10percent.txt",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="of lists that are drawn (default: 0)"
        )
        parser.add_argument(
            "--replace", action="store_true", help="write lists that are there already"
        )
        args = parser.parse_args(argv)
        from ssl_bench.data import open_dataset, subset_lists

        train = open_dataset("imagenet", "train", args.root)
        made = subset_lists.prepare(
            train, args.official, seed=args.seed, replace=args.replace
        )
        return _say_lists(made)

    return _guarded("prepare_imagenet_subsets.py", run)


def _say_lists(made: Sequence[Made]) -> int:
    from ssl_bench.data.subset_lists import origin_path

    for item in made:
        if item.images:
            print(f"{item.path}: {item.images:,} images")
        else:
            _say(f"{item.path} is there and is left as it is; --replace writes it anew")
        if item.odd:
            _say(f"warning: {item.odd}; numbers on it are not comparable")
        elif not item.official:
            _say(
                f"{item.path} is not the official list, as {origin_path(item.path)} "
                "says: numbers on it are not comparable to published ones; --official "
                "DIR --replace makes it of SimCLR's"
            )
    return 0


def _listed(
    program: str,
    text: str,
    known: str,
    write: Callable[[Path], dict[str, Path]],
    argv: Sequence[str] | None,
) -> int:
    """Write the lists that can be written, and check what is there then."""

    def run() -> int:
        parser = _parser(program, text)
        parser.add_argument("root", metavar="ROOT", type=Path)
        args = parser.parse_args(argv)
        from ssl_bench.data import list_check

        expected: Known = getattr(list_check, known)
        home = list_check.home(args.root, expected)
        for path in write(home).values():
            _say(f"wrote {path}")
        return _checked(home, expected, program)

    return _guarded(program, run)


def _checked(root: Path, known: Known, program: str) -> int:
    from ssl_bench.data import list_check

    report = list_check.check(root, known)
    print(list_check.render(report, known))
    if not report.complete:
        print(f"  and then: python tools/{program} {root}")
    return int(not report.complete)


def _is_there(find: Callable[[str, Path], Path], known: Known, root: Path) -> bool:
    try:
        find(known.dataset, root)
    except DataError:
        return False
    return True


def _nothing(root: Path) -> dict[str, Path]:
    return {}


def _say(text: str) -> None:
    print(text, file=sys.stderr)
