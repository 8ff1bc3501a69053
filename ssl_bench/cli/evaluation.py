"""What the commands that evaluate share: their options, and the way to a request."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.errors import UsageError

if TYPE_CHECKING:
    from ssl_bench.suite import Request


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which backbone, and how its file is read."""
    group = parser.add_argument_group("backbone")
    group.add_argument(
        "--pretrain",
        metavar="CKPT",
        help="checkpoint file, directory with epoch_*.pth (the newest whole one), or "
        "'none' for random initialisation; without it: the bundled backbone",
    )
    add_reading_arguments(group)


def add_reading_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options that say how a checkpoint file is read."""
    parser.add_argument(
        "--arch",
        help="architecture that it must be, as in resnet50 or vit_small_patch16_224",
    )
    parser.add_argument(
        "--encoder",
        choices=("online", "ema"),
        help="which copy, where a checkpoint holds two (default: the producer's own)",
    )
    parser.add_argument("--format", help="checkpoint layout, instead of finding it")
    parser.add_argument("--prefix", help="take the keys below this prefix")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="load what is there; it is written down and kept out of tables",
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which images, and how features are extracted."""
    group = parser.add_argument_group("data")
    group.add_argument("--dataset", metavar="NAME", help="name of the data set")
    group.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="where it is (default: below $SSL_BENCH_DATA or data/)",
    )
    group.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="at most N images of a split, class-balanced; never reaches a table",
    )
    group.add_argument(
        "--on-bad-image",
        choices=("error", "skip"),
        default="error",
        help="what to do with an unreadable image (default: error)",
    )
    group.add_argument(
        "--verify-data",
        action="store_true",
        help="hash the images' contents into the record",
    )
    group = parser.add_argument_group("extraction")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N")
    group.add_argument(
        "--dtype",
        choices=("fp32", "bf16", "fp16"),
        default="fp32",
        help="precision of the forward pass (default: fp32)",
    )
    group.add_argument("--batch-size", type=int, default=64, metavar="N")
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes that decode images"
    )
    group.add_argument("--seed", type=int, default=0)


def add_evaluation_arguments(
    parser: argparse.ArgumentParser, *, features: bool = True
) -> None:
    """Add the options of a command that runs a protocol.

    Args:
        parser: of the command.
        features: whether it takes features in place of a backbone.
    """
    parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="config by name or path (default: the one that fits the data set)",
    )
    add_backbone_arguments(parser)
    add_data_arguments(parser)
    group = parser.add_argument_group("run")
    if features:
        group.add_argument(
            "--features",
            type=Path,
            metavar="DIR",
            help="given features instead of a backbone: {train,test}_features.npy and "
            "{train,test}_targets.npy",
        )
    group.add_argument("--name", help="the model's name in records and tables")
    group.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where records are kept (default: results)",
    )
    group.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="leave the resolved config and a copy of the record here",
    )
    group.add_argument(
        "--rerun", action="store_true", help="run again although it is finished"
    )
    group.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="override config fields, as in settings.topk=10,20",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="say what would be run, and stop"
    )
    group.add_argument(
        "--json", action="store_true", help="the record as JSON on stdout"
    )
    add_launcher(group)


def add_launcher(parser: argparse._ActionsContainer) -> None:
    """Add the option that says who started several processes."""
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm"),
        default="none",
        help="several processes, started by torchrun (pytorch) or srun (slurm)",
    )


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that trains."""
    add_evaluation_arguments(parser, features=False)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last whole checkpoint of the work dir",
    )
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="ask for deterministic kernels (slower on a GPU)",
    )


def add_dense_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that trains detectors or segmentors."""
    group = parser.add_argument_group("schedule")
    group.add_argument(
        "--short",
        type=float,
        nargs="?",
        const=0.1,
        default=1.0,
        metavar="PART",
        help="train this part of the schedule only (default without a number: 0.1); "
        "recorded under a name of its own",
    )
    group.add_argument(
        "--test-only",
        type=Path,
        metavar="TRAINED",
        help="train nothing: test this trained model of the same recipe and backbone",
    )


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the option that trains many heads at once."""
    parser.add_argument(
        "--sweep",
        nargs="+",
        metavar="KEY=VALUES",
        help="one head for each learning rate and weight decay on the same forward "
        "pass, as in lr=0.01,0.1,1 wd=0,1e-4",
    )


def to_sweep(words: Sequence[str] | None) -> dict[str, list[float]] | None:
    """Return what ``--sweep`` asks for.

    Raises:
        UsageError: for a word that is no KEY=VALUES.
    """
    if words is None:
        return None
    found: dict[str, list[float]] = {}
    for word in words:
        key, _, values = word.partition("=")
        try:
            numbers = [float(value) for value in values.split(",") if value.strip()]
        except ValueError:
            numbers = []
        if key not in ("lr", "wd") or not numbers or key in found:
            raise UsageError(
                f"--sweep {word}: write lr=NUMBERS and wd=NUMBERS, each once, as in "
                "--sweep lr=0.01,0.1,1 wd=0,1e-4"
            )
        found[key] = numbers
    return found


def add_feature_list(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where features are taken."""
    parser.add_argument(
        "--feature-list",
        nargs="+",
        metavar="FEAT",
        help='out of "feat1 feat2 feat3 feat4 feat5" (stem and stages; default: feat5) '
        "and the taps of the backbone, as in layer4 or block11",
    )


def with_feature_list(args: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments with that option as the setting that it stands for."""
    names = [name for word in args.feature_list or () for name in split_names(word)]
    if args.feature_list is not None:
        if not names:
            raise UsageError("--feature-list is empty; name one, as in feat5")
        args.cfg_options = [
            *(args.cfg_options or ()),
            f"settings.features={','.join(names)}",
        ]
    return args


def split_names(word: str) -> list[str]:
    """Return the names in a word that commas or spaces separate."""
    return word.replace(",", " ").split()


def to_extraction(args: argparse.Namespace) -> Any:
    """Return the extraction that the options describe."""
    from ssl_bench.features import Extraction

    return Extraction(
        device=args.device,
        dtype=args.dtype,
        batch_size=args.batch_size,
        workers=args.workers,
        on_bad_image=args.on_bad_image,
    )


def to_request(args: argparse.Namespace) -> Request:
    """Return the request that the options describe."""
    from ssl_bench.config import parse_options
    from ssl_bench.suite import Request

    features = getattr(args, "features", None)
    if features is not None and (args.data_root or args.limit):
        raise UsageError("--features has no images: leave out --data-root and --limit")
    return Request(
        pretrain=args.pretrain,
        config=args.config,
        arch=args.arch,
        name=args.name,
        dataset=args.dataset,
        data_root=args.data_root,
        features=features,
        work_dir=args.work_dir,
        extraction=to_extraction(args),
        seed=args.seed,
        limit=args.limit,
        encoder=args.encoder,
        layout=args.format,
        prefix=args.prefix,
        allow_partial=args.allow_partial,
        verify_data=args.verify_data,
        rerun=args.rerun,
        options=parse_options(args.cfg_options),
        sweep=to_sweep(getattr(args, "sweep", None)),
        grid=getattr(args, "grid", False),
        resume=getattr(args, "resume", False),
        deterministic=getattr(args, "deterministic", False),
        short=getattr(args, "short", 1.0),
        trained=getattr(args, "test_only", None),
    )
