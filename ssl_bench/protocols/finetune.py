"""Fine-tuning: the whole network is trained on all labels, by recipe.

Data: one class an image; train on ``train``, report on ``val``; ImageNet-1k is the
published one.

A recipe is a config. Those of masked image modelling lower the learning rate layer by
layer from the head to the embedding, mix images and labels, augment by RandAugment and
random erasing, drop branches at random and put a new norm before the classifier; those
of supervised baselines do none of it. The last epoch is always evaluated and reported;
the best epoch stands beside it, marked as chosen on the split that it reports.

Source: He et al. 2021, arXiv:2111.06377, table 9; Bao et al. 2021, arXiv:2106.08254;
    MMSelfSup and MMPretrain, configs/*/benchmarks.
Expected: mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k 83.5 top-1 on ImageNet.
"""

from __future__ import annotations

from ssl_bench.protocols import Outcome, Trial

PROTOCOL = "finetune"
DATASET = "imagenet"
VERSION = 1
TRAINING = True
METRICS = (r"top[15](_[\w.+-]+)?",)


def run(trial: Trial) -> Outcome:
    """Train and evaluate the network.

    Raises:
        BenchError: where the run cannot begin or go on.
    """
    from ssl_bench.protocols.trained import train_and_report

    return train_and_report(trial)
