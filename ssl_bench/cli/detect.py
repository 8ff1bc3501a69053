"""``ssl-bench detect``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import (
    add_dense_arguments,
    add_training_arguments,
)
from ssl_bench.cli.running import run_protocol

HELP = """\
detection and instance segmentation: a detector trained from the backbone

Runs on MMDetection (extra openmmlab; ssl-bench doctor says whether it is there). Every
tensor of the backbone is compared with the checkpoint before the first step.

examples:
  ssl-bench detect                                  bundled backbone, bundled scenes
  ssl-bench detect --pretrain ckpt.pth --data-root data/coco
  ssl-bench detect faster-rcnn_r50-c4_ms-24k_voc0712 --pretrain ckpt.pth
  ssl-bench detect --pretrain ckpt.pth --dataset folder --data-root my_coco
  ssl-bench detect --pretrain ckpt.pth --short 0.1
  torchrun --nproc_per_node=8 -m ssl_bench detect --pretrain ckpt.pth \\
      --launcher pytorch
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training run."""
    add_training_arguments(parser)
    add_dense_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train and evaluate a detector."""
    return run_protocol(args, "detect")
