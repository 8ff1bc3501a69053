"""``ssl-bench segment``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import (
    add_dense_arguments,
    add_training_arguments,
)
from ssl_bench.cli.running import run_protocol

HELP = """\
semantic segmentation: a segmentor trained from the backbone, or a linear layer on it

Runs on MMSegmentation (extra openmmlab; ssl-bench doctor says whether it is there).
Every tensor of the backbone is compared with the checkpoint before the first step.

examples:
  ssl-bench segment                                 bundled backbone, bundled scenes
  ssl-bench segment --pretrain ckpt.pth --data-root data/VOCdevkit
  ssl-bench segment fcn_r50-d8_4xb2-40k_cityscapes-769x769 --pretrain ckpt.pth
  ssl-bench segment linear_8xb2-40k_ade20k-512x512 --pretrain vit.pth
  ssl-bench segment --pretrain ckpt.pth --dataset folder --data-root my_voc
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training run."""
    add_training_arguments(parser)
    add_dense_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train and evaluate a segmentor."""
    return run_protocol(args, "segment")
