"""Semi-supervised evaluation: the whole network is fine-tuned on 1 % or 10 % of labels.

Data: a class-balanced part of ``train``, all of ``val``. On ImageNet the parts are the
lists that SimCLR published; on other data they are drawn from the seed.

Every parameter is trained, batch norm over all processes, and the head by a multiple of
the backbone's learning rate. The published protocol reports the best of nine cells
(three learning rates, three multiples): ``--grid`` runs them all and says that the cell
was chosen on the split that it reports. The last epoch is evaluated and reported.

Source: Chen et al. 2020, arXiv:2002.05709, section 4.2 and its code's imagenet_subsets;
    OpenSelfSup, configs/benchmarks/semi_classification (the nine cells).
Expected: mocov2 39.07 / 68.31 (top-1 / top-5) with 1 % of ImageNet, by the learning
    rate 0.01 and the multiple 100.
"""

from __future__ import annotations

import dataclasses

from ssl_bench.data import subset_lists
from ssl_bench.protocols import Outcome, Trial

PROTOCOL = "semi"
DATASET = "imagenet"
VERSION = 1
TRAINING = True
METRICS = (r"top[15](_[\w.+-]+)?",)


def run(trial: Trial) -> Outcome:
    """Train and evaluate the network, or every cell of the recipe's grid.

    Raises:
        BenchError: where the run cannot begin or go on.
    """
    from ssl_bench.protocols.trained import run_grid, train_and_report

    outcome = run_grid(trial) if trial.settings.all_cells else train_and_report(trial)
    return dataclasses.replace(
        outcome, warnings=(*outcome.warnings, *_about_the_part(trial))
    )


def _about_the_part(trial: Trial) -> list[str]:
    listed = trial.settings.config.get("train_list")
    if not listed or trial.dataset["train"].name != trial.settings.config.dataset:
        return []
    path = trial.dataset["train"].root / str(listed)
    if subset_lists.is_official(path):
        return []
    return [f"{path.name} is not the published list of images"]
