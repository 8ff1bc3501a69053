"""``ssl-bench features``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ssl_bench.cli.evaluation import (
    add_backbone_arguments,
    add_data_arguments,
    add_launcher,
    to_extraction,
)
from ssl_bench.cli.running import run_together

HELP = """\
write features as plain .npy files

OUT gets {train,test}_features.npy (N x D float32) and {train,test}_targets.npy; with
several taps each has a folder of its own.

examples:
  ssl-bench features OUT --pretrain ckpt.pth --dataset imagenet
  ssl-bench features OUT --pretrain ckpt.pth --dataset folder --data-root photos \\
      --cfg-options taps=layer3,layer4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of extraction."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    add_backbone_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="taps=layer3,layer4 (default: final), transform=NAME, producer=NAME",
    )
    parser.add_argument(
        "--json", action="store_true", help="what was written, as JSON on stdout"
    )
    add_launcher(parser)


def run(args: argparse.Namespace) -> int:
    """Extract both splits and write the files."""
    return run_together(args, lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from ssl_bench import suite
    from ssl_bench.config import options_config, parse_options
    from ssl_bench.data import transforms
    from ssl_bench.errors import ConfigError, unknown
    from ssl_bench.features import extract_features, write_folder
    from ssl_bench.files import check_writable
    from ssl_bench.launch import rank

    options = options_config(parse_options(args.cfg_options))
    known = ("taps", "transform", "backbone", "producer", "custom_imports")
    complaints = [unknown("option", key, known) for key in options if key not in known]
    if "transform" in options:
        complaints += suite.transform_complaints(options["transform"])
    if complaints:
        raise ConfigError(complaints)
    taps = options.get("taps", ["final"])
    request = suite.Request(
        pretrain=args.pretrain,
        arch=args.arch,
        encoder=args.encoder,
        layout=args.format,
        prefix=args.prefix,
        allow_partial=args.allow_partial,
        seed=args.seed,
        limit=args.limit,
        options=options,
    )
    name = args.dataset or suite.BUNDLED_DATASET
    if args.dataset is None and args.pretrain is not None:
        name = "imagenet"
    suite.check_request(request)
    backbone = suite.open_backbone(request, options)
    suite.say_loaded(backbone)
    for warning in suite.load_warnings(backbone):
        print(f"warning: {warning}", file=sys.stderr)
    backbone.check_taps(taps if isinstance(taps, list) else [taps])
    check_writable(args.out)
    splits = suite.open_splits(name, args.data_root, args.limit, args.seed)
    transform = options.get("transform")
    taken = {
        role: extract_features(
            backbone,
            split,
            taps if isinstance(taps, list) else [taps],
            transform=None if transform is None else transforms.resolve(transform),
            extraction=to_extraction(args),
        )
        for role, split in splits.items()
    }
    if rank() > 0:
        return 0
    written = write_folder(args.out, taken)
    if args.json:
        shapes = {
            str(path.relative_to(args.out)): list(features.feats_ND.shape)
            for path, features in zip(
                written[::2],
                [f for r in taken.values() for f in r.values()],
                strict=True,
            )
        }
        print(json.dumps(shapes, indent=2))
    else:
        print("\n".join(str(path) for path in written))
    return 0
