"""Training steps by their formulas: float64 numbers, one parameter after the other.

A step takes the weights and their gradients by name and returns the new weights; what
it remembers between steps is in its own object. Nothing here knows of groups: rates of
single parameters are given by name.

Axes: N images, D dimensions, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class SGD:
    """Remember a velocity: v = m v + (g + d w), w = w - lr v.

    With Nesterov's look ahead: w = w - lr (g + d w + m v). The first v is g + d w.
    """

    def __init__(
        self,
        lr: Mapping[str, float],
        weight_decay: Mapping[str, float],
        momentum: float,
        nesterov: bool = False,
    ) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self.momentum, self.nesterov = momentum, nesterov
        self.velocity: dict[str, Array] = {}

    def step(
        self, weights: Mapping[str, Array], grads: Mapping[str, Array]
    ) -> dict[str, Array]:
        found = {}
        for name, w in weights.items():
            slope = self.slope(name, w, grads[name])
            if name in self.velocity:
                v = self.momentum * self.velocity[name] + slope
            else:
                v = slope
            self.velocity[name] = v
            ahead = slope + self.momentum * v if self.nesterov else v
            found[name] = w - self.lr[name] * ahead
        return found

    def slope(self, name: str, w: Array, g: Array) -> Array:
        return g + self.weight_decay[name] * w


class LARS(SGD):
    """SGD on slopes that are scaled to 0.001 times the length of the weights.

    The scale of a parameter is 0.001 |w| / (|g| + d |w| + 1e-8), or 1 where w or g is
    zero; it comes before the momentum, the learning rate after it.
    """

    def slope(self, name: str, w: Array, g: Array) -> Array:
        w_length = math.sqrt(math.fsum((w.ravel() ** 2).tolist()))
        g_length = math.sqrt(math.fsum((g.ravel() ** 2).tolist()))
        decay = self.weight_decay[name]
        scale = 1.0
        if w_length > 0 and g_length > 0:
            scale = 0.001 * w_length / (g_length + decay * w_length + 1e-8)
        return scale * (g + decay * w)


class AdamW:
    """Adam's step, and weight decay beside it: w = w - lr d w - lr m' / (sqrt v' + e).

    m' and v' are the running means of g and g squared, divided by 1 - beta^t.
    """

    def __init__(
        self,
        lr: Mapping[str, float],
        weight_decay: Mapping[str, float],
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self.betas, self.eps = betas, eps
        self.count = 0
        self.first: dict[str, Array] = {}
        self.second: dict[str, Array] = {}

    def step(
        self, weights: Mapping[str, Array], grads: Mapping[str, Array]
    ) -> dict[str, Array]:
        self.count += 1
        one, two = self.betas
        found = {}
        for name, w in weights.items():
            g = grads[name]
            m = one * self.first.get(name, np.zeros_like(g)) + (1 - one) * g
            v = two * self.second.get(name, np.zeros_like(g)) + (1 - two) * g**2
            self.first[name], self.second[name] = m, v
            m_hat, v_hat = m / (1 - one**self.count), v / (1 - two**self.count)
            lr = self.lr[name]
            w = w - lr * self.weight_decay[name] * w
            found[name] = w - lr * m_hat / (np.sqrt(v_hat) + self.eps)
        return found


def vit_multipliers(names: Sequence[str], depth: int, decay: float) -> dict[str, float]:
    """Return what rates of a ViT's parameters are multiplied by, name by name.

    The head and the last norm have 1, the last block decay, the one before it decay
    squared, and so on; what makes tokens of an image has one more than the first block.
    """
    found = {}
    for name in names:
        power = 0
        for block in range(depth):
            if name.startswith(f"backbone.blocks.{block}."):
                power = depth - block
        for start in ("cls_token", "pos_embed", "patch_embed."):
            if name.startswith(f"backbone.{start}"):
                power = depth + 1
        found[name] = decay**power
    return found


def softmax_head(
    feats_ND: Array, targets_N: Sequence[int], weight_KD: Array, bias_K: Array
) -> tuple[float, Array, Array]:
    """Return mean cross-entropy of a linear head, and gradients of weight and bias.

    The gradient of the logits is (probability - 1 for the true class) / N.
    """
    loss = 0.0
    weight_grad, bias_grad = np.zeros_like(weight_KD), np.zeros_like(bias_K)
    for x_D, target in zip(feats_ND, targets_N, strict=True):
        logits = [float(w @ x_D + b) for w, b in zip(weight_KD, bias_K, strict=True)]
        highest = max(logits)
        total = math.fsum(math.exp(z - highest) for z in logits)
        loss -= (logits[target] - highest - math.log(total)) / len(feats_ND)
        for k, z in enumerate(logits):
            slope = math.exp(z - highest) / total - (k == target)
            weight_grad[k] += slope * x_D / len(feats_ND)
            bias_grad[k] += slope / len(feats_ND)
    return loss, weight_grad, bias_grad


def mixed_labels(
    targets_N: Sequence[int], classes: int, share: float, smoothing: float
) -> Array:
    """Return labels of a batch of which each image is mixed with its mirror image.

    Args:
        targets_N: classes of the images.
        classes: K.
        share: of the image itself, the rest being that of its partner.
        smoothing: part that all classes have equally.
    """
    found = np.full((len(targets_N), classes), smoothing / classes)
    for n, own in enumerate(targets_N):
        found[n, own] += (1 - smoothing) * share
        found[n, targets_N[len(targets_N) - 1 - n]] += (1 - smoothing) * (1 - share)
    return found
