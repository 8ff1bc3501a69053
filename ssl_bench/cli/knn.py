"""``ssl-bench knn``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import add_evaluation_arguments
from ssl_bench.cli.running import run_protocol

HELP = """\
k-NN classification on frozen features

examples:
  ssl-bench knn                                     bundled backbone, bundled scenes
  ssl-bench knn --pretrain ckpt.pth --data-root data/imagenet
  ssl-bench knn --pretrain ckpt.pth --dataset folder --data-root photos
  ssl-bench knn --pretrain none --arch resnet50 --dataset cifar10
  ssl-bench knn --features DIR --cfg-options settings.topk=1,5
  torchrun --nproc_per_node=8 -m ssl_bench knn --pretrain ckpt.pth \\
      --launcher pytorch
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation."""
    add_evaluation_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run k-NN."""
    return run_protocol(args, "knn")
