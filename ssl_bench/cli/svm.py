"""``ssl-bench svm``."""

from __future__ import annotations

import argparse

from ssl_bench.cli.evaluation import (
    add_evaluation_arguments,
    add_feature_list,
    with_feature_list,
)
from ssl_bench.cli.running import run_protocol

HELP = """\
linear SVMs on frozen features, one a class (VOC07 SVM)

examples:
  ssl-bench svm                                     bundled backbone, bundled scenes
  ssl-bench svm --pretrain ckpt.pth --data-root data/VOCdevkit
  ssl-bench svm --pretrain ckpt.pth --feature-list "feat1 feat2 feat3 feat4 feat5"
  ssl-bench svm svm_voc07_vissl --pretrain ckpt.pth   (variants: mmselfsup, fair,
                                                       vissl, gap)
  ssl-bench svm --pretrain ckpt.pth --dataset multilabel --data-root photos
  ssl-bench svm --pretrain ckpt.pth --cfg-options difficult=ignore solver=liblinear
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation."""
    add_evaluation_arguments(parser)
    add_feature_list(parser)


def run(args: argparse.Namespace) -> int:
    """Run the SVMs."""
    return run_protocol(with_feature_list(args), "svm")
