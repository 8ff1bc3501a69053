"""``ssl-bench extract``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.cli.evaluation import add_reading_arguments

if TYPE_CHECKING:
    from ssl_bench.backbones import BackboneWeights

HELP = """\
take the backbone out of a checkpoint, and say what was in it

The layout and the architecture are told from the keys and shapes. Every tensor of the
backbone has to be filled, and every key of the file is used or dropped by a named rule.
OUT ends in .pth or .safetensors and holds the provenance too. ResNets are written in
the names of torchvision and OpenMMLab, transformers in timm's; --to writes others.

examples:
  ssl-bench extract checkpoint.pth backbone.pth
  ssl-bench extract checkpoint.pth --dry-run
  ssl-bench extract epoch_800.pth target.safetensors --encoder ema
  ssl-bench extract run.ckpt backbone.pth --prefix my_model.encoder.
  ssl-bench extract checkpoint.pth backbone.pkl --to detectron2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of extraction."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="checkpoint file, or directory with epoch_*.pth (the newest whole one)",
    )
    parser.add_argument(
        "out",
        metavar="OUT",
        nargs="?",
        type=Path,
        help="file to write, .pth or .safetensors (.pkl for detectron2); not needed "
        "with --dry-run",
    )
    parser.add_argument(
        "--to",
        choices=("mm", "timm", "torchvision", "detectron2"),
        help="write the names of this code base, and say how it loads them",
    )
    add_reading_arguments(parser)
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="producer=NAME: who wrote the file, where several write the same names",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the inventory, write nothing"
    )
    parser.add_argument(
        "--json", action="store_true", help="the inventory as JSON on stdout"
    )


def run(args: argparse.Namespace) -> int:
    """Load strictly, show the inventory, write the backbone."""
    from ssl_bench import checkpoints
    from ssl_bench.checkpoints import export
    from ssl_bench.errors import UsageError
    from ssl_bench.files import check_writable

    if args.out is None and not args.dry_run:
        raise UsageError("OUT is missing; name a file to write, or pass --dry-run")
    if args.out is not None:
        export.check_name(args.out, args.to)
        if args.out.exists() and args.out.samefile(
            checkpoints.resolve(args.checkpoint)
        ):
            raise UsageError(f"OUT {args.out} is the checkpoint itself; name another")
        if not args.dry_run:
            check_writable(args.out.parent)
    weights = checkpoints.load(
        args.checkpoint,
        producer=_producer(args.cfg_options),
        layout=args.format,
        prefix=args.prefix,
        encoder=args.encoder,
        arch=args.arch,
        allow_partial=args.allow_partial,
    )
    advice = [] if args.to is None else export.usage(weights, args.to, args.out)
    if args.dry_run:
        done = "nothing written (--dry-run)"
    elif _already_there(args.out, weights, args.to):
        done = f"{args.out} already holds exactly this"
    else:
        export.save(weights, args.out, args.to)
        done = f"wrote {args.out}"
    facts = checkpoints.take_inventory(weights)
    print(
        json.dumps(facts, indent=2)
        if args.json
        else checkpoints.render_inventory(facts)
    )
    print("\n".join([done, *advice]), file=sys.stderr)
    return 0


def _producer(options: list[str] | None) -> str | None:
    """Return the producer that --cfg-options names; extraction has no other field."""
    from ssl_bench.config import parse_options
    from ssl_bench.errors import ConfigError, unknown

    given = parse_options(options)
    wrong = [unknown("config key", key, ("producer",)) for key in given]
    wrong = [said for said, key in zip(wrong, given, strict=True) if key != "producer"]
    if wrong:
        raise ConfigError(wrong)
    return None if "producer" not in given else str(given["producer"])


def _already_there(out: Path, weights: BackboneWeights, target: str | None) -> bool:
    """Tell whether ``out`` is this very extraction; refuse to replace another file."""
    from ssl_bench import checkpoints
    from ssl_bench.checkpoints import export
    from ssl_bench.errors import BenchError

    if not out.exists():
        return False
    try:
        there = checkpoints.load(out, allow_partial=weights.partial)
        old, new = checkpoints.provenance(there), checkpoints.provenance(weights)
        # What was dropped is not in an extraction any more, and the version may move.
        same = all(old[key] == new[key] for key in new.keys() - {"coverage", "version"})
        same = same and export.names_in(out) == export.names_for(weights, target)
    except BenchError:
        same = False
    if not same:
        raise BenchError(
            f"{out} exists and holds something else; remove it, or write to another "
            "name"
        )
    return True
