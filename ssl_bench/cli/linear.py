"""``ssl-bench linear``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import add_sweep, add_training_arguments
from ssl_bench.cli.running import run_protocol

HELP = """\
linear classifiers trained on a frozen backbone, by published recipe

examples:
  ssl-bench linear                                  bundled backbone, bundled scenes
  ssl-bench linear --pretrain ckpt.pth --data-root data/imagenet
  ssl-bench linear resnet50_mhead_linear-8xb32-steplr-90e_in1k --pretrain ckpt.pth
  ssl-bench linear --pretrain ckpt.pth --dataset folder --data-root photos
  ssl-bench linear --pretrain ckpt.pth --sweep lr=0.01,0.1,1,10 wd=0,1e-4
  ssl-bench linear --pretrain ckpt.pth --resume
  torchrun --nproc_per_node=8 -m ssl_bench linear --pretrain ckpt.pth \\
      --launcher pytorch
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training run."""
    add_training_arguments(parser)
    add_sweep(parser)


def run(args: argparse.Namespace) -> int:
    """Train and evaluate linear heads."""
    return run_protocol(args, "linear")
