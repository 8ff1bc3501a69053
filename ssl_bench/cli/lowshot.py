"""``ssl-bench lowshot``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import (
    add_evaluation_arguments,
    add_feature_list,
    with_feature_list,
)
from ssl_bench.cli.running import run_protocol

HELP = """\
linear SVMs on 1 to 96 images of each class (low-shot VOC07 SVM)

Every k is reported twice: by the published rule, which chooses the cost on the test
split, and by one that does not (_heldout).

examples:
  ssl-bench lowshot                                 bundled backbone, bundled scenes
  ssl-bench lowshot --pretrain ckpt.pth --data-root data/VOCdevkit
  ssl-bench lowshot --pretrain ckpt.pth --cfg-options shots=1,4,16 samples=10
  ssl-bench lowshot --pretrain ckpt.pth --cfg-options sample_files=low_shot_train
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation."""
    add_evaluation_arguments(parser)
    add_feature_list(parser)


def run(args: argparse.Namespace) -> int:
    """Run the low-shot SVMs."""
    return run_protocol(with_feature_list(args), "lowshot")
