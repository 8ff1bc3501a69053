"""Mixup and CutMix, drawn from seed, step and process only.

Source: Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019; computed by
``timm.data.Mixup``, one draw for a batch.

Axes: B batch, C channels of images and classes of labels, H and W of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from timm.data import Mixup
from torch import Tensor
from torch.nn import functional

from ssl_bench.errors import BenchError, ConfigError


class Mixing:
    """Mix each image of a batch with the one that is as far from the other end.

    The middle image of an odd batch has no partner and stays as it is.

    Args:
        classes: number of them.
        mixup: parameter of the beta distribution of mixup; 0 for none.
        cutmix: the same of CutMix. Where both are above 0, one of them is drawn.
        prob: share of the batches that are mixed.
        switch_prob: share of CutMix, where both could be taken.
        label_smoothing: share of a label that all classes have equally.
        seed: of the draws.

    Raises:
        ConfigError: for every value that cannot be.
    """

    def __init__(
        self,
        classes: int,
        *,
        mixup: float,
        cutmix: float,
        prob: float,
        switch_prob: float,
        label_smoothing: float,
        seed: int,
    ) -> None:
        shares = {
            "prob": prob,
            "switch_prob": switch_prob,
            "label_smoothing": label_smoothing,
        }
        complaints = [
            f"{name}={value!r} is not a number of 0 or more"
            for name, value in (("mixup", mixup), ("cutmix", cutmix))
            if not 0 <= value < float("inf")
        ]
        complaints += [
            f"{name}={value!r} is not between 0 and 1"
            for name, value in shares.items()
            if not 0 <= value <= 1
        ]
        if complaints:
            raise ConfigError(complaints)
        self.seed = seed
        self._mixup = Mixup(
            mixup_alpha=mixup,
            cutmix_alpha=cutmix,
            prob=prob,
            switch_prob=switch_prob,
            mode="batch",
            label_smoothing=label_smoothing,
            num_classes=classes,
        )
        self._mixup.mixup_enabled = mixup > 0 or cutmix > 0

    def __call__(
        self, images_BCHW: Tensor, targets_B: Tensor, step: int, rank: int
    ) -> tuple[Tensor, Tensor]:
        """Return mixed images and their labels; what is given stays as it is.

        Args:
            images_BCHW: normalised images, floating.
            targets_B: int64 classes.
            step: of the training.
            rank: of the process.

        Returns:
            Images, and soft labels (B, C) in float32 whose rows sum to 1.

        Raises:
            BenchError: for images of whole numbers.
        """
        if not images_BCHW.is_floating_point():
            raise BenchError(
                f"images of {images_BCHW.dtype} cannot be mixed; norm them first"
            )
        count = len(targets_B)
        places = torch.arange(count, device=targets_B.device)
        middle = count // 2
        if count % 2:
            # timm wants pairs: the middle image is paired with a copy of itself.
            places = torch.cat([places[: middle + 1], places[middle:]])
        # Taken by index, so that timm mixes a copy.
        images, labels = images_BCHW[places], targets_B[places]
        with _seeded(self.seed, step, rank):
            images, labels = self._mixup(images, labels)
        if count % 2:
            kept = torch.arange(count + 1, device=targets_B.device) != middle
            images, labels = images[kept], labels[kept]
        return images, labels


def soft_cross_entropy(logits_BC: Tensor, targets_BC: Tensor) -> Tensor:
    """Return the mean cross-entropy of soft labels.

    Args:
        logits_BC: before the softmax.
        targets_BC: shares of the classes; every row sums to 1.

    Returns:
        A number in float32.
    """
    return functional.cross_entropy(logits_BC.float(), targets_BC.float())


@contextmanager
def _seeded(seed: int, step: int, rank: int) -> Iterator[None]:
    """Seed numpy's global generator, which timm draws from, and put it back."""
    digest = hashlib.sha256(f"mixing {seed} {step} {rank}".encode()).digest()
    state = np.random.get_state()
    np.random.seed(int.from_bytes(digest[:4], "little"))
    try:
        yield
    finally:
        np.random.set_state(state)
