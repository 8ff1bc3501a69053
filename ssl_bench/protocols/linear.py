"""Linear evaluation: linear classifiers trained on a frozen backbone, by recipe.

Data: one class an image; train on ``train``, report on ``val``. The published ones are
ImageNet-1k, Places205 and iNaturalist 2018.

A recipe is a config: which taps are seen, how they become a vector, whether a batch
norm without affine comes before the linear layer, optimiser, learning rate of the
global batch, epochs, schedule, augmentation. Published recipes differ by a factor of a
hundred in learning rate and belong to the method whose table they stand in; the
multi-head one trains five classifiers on five taps at once.

The backbone is in evaluation mode, without gradients, whatever happens around it, and
is compared bit by bit with what was loaded once training has ended. Every recipe is
evaluated after its last epoch, which is the number reported; the best epoch stands
beside it, marked as chosen on the split that it reports. A sweep trains one head for
each learning rate and weight decay on the same forward pass.

Source: Zhang et al. 2016, arXiv:1603.08511 (five taps); He et al. 2019,
    arXiv:1911.05722, section 4 (average pool, learning rate 30); MMSelfSup 0.x,
    configs/benchmarks/classification; Oquab et al. 2023, arXiv:2304.07193 (many heads).
Expected: simsiam_resnet50_8xb32-coslr-100e_in1k 68.3 top-1 on ImageNet by
    resnet50_linear-8xb512-coslr-90e_in1k.
"""

from __future__ import annotations

from ssl_bench.protocols import Outcome, Trial

PROTOCOL = "linear"
DATASET = "imagenet"
VERSION = 1
TRAINING = True
METRICS = (r"top[15](_[\w.+-]+)?",)


def run(trial: Trial) -> Outcome:
    """Train and evaluate the heads.

    Raises:
        BenchError: where the run cannot begin, go on or be trusted.
    """
    from ssl_bench.protocols.trained import train_and_report

    return train_and_report(trial)
