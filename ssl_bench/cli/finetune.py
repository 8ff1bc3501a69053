"""``ssl-bench finetune``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import add_training_arguments
from ssl_bench.cli.running import run_protocol

HELP = """\
the whole network fine-tuned on all labels, by published recipe

examples:
  ssl-bench finetune                                bundled backbone, bundled scenes
  ssl-bench finetune --pretrain mae.pth --data-root data/imagenet
  ssl-bench finetune --pretrain ckpt.pth --dataset folder --data-root photos
  ssl-bench finetune --pretrain mae.pth \\
      --cfg-options optim_wrapper.accumulative_counts=8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training run."""
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fine-tune on all labels."""
    return run_protocol(args, "finetune")
