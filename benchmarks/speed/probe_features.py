"""Features with classes, as the last stage of a network gives them; of no model.

Latent directions whose strength falls as a power, classes as centres among them, noise
of each image's own, a ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_bench.solvers.rows import Rows, matrix

ASKED = 5000
CPU = torch.device("cpu")

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """Hold features to fit and to ask, and the number of classes."""

    feats_ND: Floats
    labels_N: Labels
    asked_MD: Floats
    labels_M: Labels
    classes: int

    @property
    def rows(self) -> Rows:
        """What is fitted."""
        return Rows(matrix(self.feats_ND, CPU), device=CPU)

    @property
    def asked(self) -> Rows:
        """What is asked."""
        return Rows(matrix(self.asked_MD, CPU), device=CPU)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return both labels."""
        return torch.from_numpy(self.labels_N), torch.from_numpy(self.labels_M)


def make(images: int, dims: int, classes: int, seed: int) -> Data:
    """Draw features.

    Args:
        images: to fit; there are 5,000 more to ask.
        dims: of the features.
        classes: how many, of equal size.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng([seed, classes])
    latent = min(400, dims)
    scale = np.arange(1, latent + 1) ** -0.5
    count = images + ASKED
    labels = rng.permutation(np.arange(count) % classes)
    # The more classes, the farther apart: some four of five are told in the end.
    centres = rng.normal(size=(classes, latent)) * scale * 0.15 * classes**0.25
    mixing = rng.normal(size=(latent, dims)).astype(np.float32) / np.sqrt(latent) * 3
    feats = np.empty((count, dims), np.float32)
    for start in range(0, count, 2000):
        part = slice(start, start + 2000)
        causes = rng.normal(size=(len(labels[part]), latent)) * scale
        block = (causes + centres[labels[part]]).astype(np.float32) @ mixing
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        feats[part] = np.maximum(block - 0.1 + 0.3 * noise, 0)
    return Data(
        feats[:images], labels[:images], feats[images:], labels[images:], classes
    )
