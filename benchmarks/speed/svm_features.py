"""Features as the pooled last stage of a ResNet-50 gives them on VOC2007.

Not drawn from any model: latent directions whose strength falls as a power, classes as
directions among them at VOC2007's own rates, noise of each image's own, a ReLU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Source: VOC2007 test, images that show each class, of 4,952.
POSITIVES = (
    204, 239, 282, 172, 212, 174, 721, 322, 417, 127,
    190, 418, 274, 222, 2007, 224, 97, 223, 259, 229,
)  # fmt: skip
IMAGES = (5011, 4952)
_LATENT = 400
_ROWS = 1000


def make(
    dims: int, seed: int
) -> tuple[
    NDArray[np.float32], NDArray[np.int8], NDArray[np.float32], NDArray[np.int8]
]:
    """Return features and targets to train on, and the same to report on.

    Args:
        dims: of the features.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng(seed)
    rates = np.array(POSITIVES) / IMAGES[1]
    count = sum(IMAGES)
    shown = rng.random((count, len(rates))) < rates
    bare = np.flatnonzero(~shown.any(axis=1))
    shown[bare, rng.choice(len(rates), len(bare), p=rates / rates.sum())] = True
    scale = np.arange(1, _LATENT + 1) ** -0.5
    latent = rng.normal(size=(count, _LATENT)) * scale
    directions = rng.normal(size=(len(rates), _LATENT)) * scale
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = rng.gamma(4, 0.25, size=shown.shape)
    latent += (shown * strength) @ directions * 0.75
    mixing = rng.normal(size=(_LATENT, dims)).astype(np.float32) / np.sqrt(_LATENT) * 3
    feats = np.empty((count, dims), np.float32)
    for start in range(0, count, _ROWS):
        block = latent[start : start + _ROWS].astype(np.float32) @ mixing
        noise = rng.standard_normal(block.shape, dtype=np.float32)
        feats[start : start + _ROWS] = np.maximum(block - 0.1 + 0.3 * noise, 0)
    targets = shown.astype(np.int8)
    targets[(rng.random(targets.shape) < 0.006) & ~shown] = -1
    first = IMAGES[0]
    return feats[:first], targets[:first], feats[first:], targets[first:]
