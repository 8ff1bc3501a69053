"""``ssl-bench probe``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import add_evaluation_arguments
from ssl_bench.cli.running import run_protocol

HELP = """\
linear classifiers on frozen features, settings chosen on held-out images

Softmax regression by SGD (52 heads at once), logistic regression by L-BFGS and ridge
regression. Features are extracted once; the test split is asked once.

examples:
  ssl-bench probe                                   bundled backbone, bundled scenes
  ssl-bench probe --pretrain ckpt.pth --data-root data/imagenet
  ssl-bench probe --pretrain ckpt.pth --dataset folder --data-root photos
  ssl-bench probe --pretrain ckpt.pth --cfg-options taps=layer3,layer4 probes=ridge
  ssl-bench probe --features DIR --cfg-options norms=none,l2,standard
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation."""
    add_evaluation_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the probes."""
    return run_protocol(args, "probe")
