"""``ssl-bench semi``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import add_training_arguments
from ssl_bench.cli.running import run_protocol

HELP = """\
the whole network fine-tuned on a small part of the labels (1 or 10 percent)

examples:
  ssl-bench semi                                    bundled backbone, bundled scenes
  ssl-bench semi --pretrain ckpt.pth --data-root data/imagenet
  ssl-bench semi resnet50_head100_4xb64-steplr1e-2-20e_in1k-1pct --pretrain ckpt.pth
  ssl-bench semi resnet50_4xb64-steplr-20e_in1k-1pct --pretrain ckpt.pth --grid
  ssl-bench semi semi_folder_10pct --pretrain ckpt.pth --data-root photos
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training run."""
    add_training_arguments(parser)
    parser.add_argument(
        "--grid",
        action="store_true",
        help="run every cell of the recipe's grid (learning rate x head multiple) and "
        "report the best, marked as chosen on the split that it reports",
    )


def run(args: argparse.Namespace) -> int:
    """Fine-tune on a part of the labels."""
    return run_protocol(args, "semi")
