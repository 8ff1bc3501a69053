r"""Linear classifiers by minibatch SGD: many heads on the same rows, trained at once.

Axes: H heads, C classes, D dimensions, n images, b images of a batch.

Every head is softmax regression with its own learning rate, weight decay and momentum,
and all see the same batches. Their weights stand one above the other, so that a step is
two products for all heads, (H C x D) (D x b) forward and (H C x b) (b x D) backward:
ten rows alone use a fraction of what a processor can multiply. A step is that of
``torch.optim.SGD`` on a ``torch.nn.Linear`` and the mean cross-entropy of the batch::

    v <- momentum v + gradient + decay w
    w <- w - rate(t) v,     rate(t) = rate (1 + cos(pi t / T)) / 2

for weights and intercepts alike, with t from 0 to T - 1. Heads begin at zero: the
problem is convex, and nothing needs to be drawn but the order of the images. Scores lie
with the images along the last axis: softmax then runs over whole vectors of images,
also where there are few classes.

A head whose loss is not finite any more is taken out and keeps nothing but the step at
which that was; the others go on as if it had never been there.

Source: Goyal et al. 2017, arXiv:1706.02677, section 2 (SGD with momentum); Loshchilov
    and Hutter 2017, arXiv:1608.03983 (cosine); many heads on one pass: Oquab et al.
    2023, arXiv:2304.07193, appendix B.3, facebookresearch/dinov2 eval/linear.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_bench.solvers.rows import Rows

_LOOK = 50
"""Steps from one look at the heads to the next: a look makes a GPU wait."""

_NOTHING = 1e-20
"""Shares of classes, and what is left of old gradients, count as 0 below this: products
with denormal numbers take several times as long, and a head that fits has no others."""

_SCORES = 1 << 22
"""Scores that are held at once when classes are told."""


@dataclass(frozen=True)
class Head:
    """Hold what tells one head from another.

    Attributes:
        rate: learning rate at the start.
        decay: weight decay, of weights and intercepts.
        momentum: of the gradient.
    """

    rate: float
    decay: float
    momentum: float


@dataclass(frozen=True)
class Schedule:
    """Say in which batches, and how often, the images are seen.

    Attributes:
        epochs: how often every image is seen.
        batch_size: images of a step; the last step of an epoch has what is left.
        seed: of their order, from 0, below 2^32.
    """

    epochs: int
    batch_size: int
    seed: int

    def steps(self, images: int) -> int:
        """Return the number of steps on so many images."""
        return self.epochs * -(-images // self.batch_size)

    def order(self, images: int, epoch: int) -> NDArray[np.int64]:
        """Return the order of the images in an epoch.

        ``RandomState``, because numpy promises its stream for ever (NEP 19).
        """
        rng = np.random.RandomState([self.seed, epoch])
        return rng.permutation(images).astype(np.int64)


@dataclass(frozen=True)
class Trained:
    """Hold heads after training.

    Attributes:
        weights_HCD: zeros for a head that diverged.
        bias_HC: its intercepts, likewise.
        losses_H: mean cross-entropy over the last epoch; NaN for one that diverged.
        diverged_H: step at which its loss was not finite, or -1.
    """

    weights_HCD: Tensor
    bias_HC: Tensor
    losses_H: NDArray[np.float64]
    diverged_H: NDArray[np.int64]


class _Heads:
    """The heads that are still trained, and the state of their optimiser."""

    def __init__(
        self, heads: Sequence[Head], classes: int, rows: Rows, batch_size: int
    ) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=rows.dtype, device=rows.device)[:, None]

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=rows.dtype, device=rows.device)

        count, self.classes, self.dims = len(heads), classes, rows.dims
        self.live_H = torch.arange(count, device=rows.device)
        self.rate_H1 = column([head.rate for head in heads])
        self.decay_H1 = column([head.decay for head in heads])
        self.momentum_H1 = column([head.momentum for head in heads])
        # Each head's weights are one row here, and C rows for the products.
        self.weights, self.speed = (zeros(count, classes * rows.dims) for _ in "wv")
        self.bias, self.bias_speed = (zeros(count, classes) for _ in "bv")
        self.loss_H = zeros(count)
        self.bad_H = torch.full((count,), -1, device=rows.device)
        self._minus_one = torch.full((1, 1, 1), -1.0, device=rows.device).to(rows.dtype)
        self._scores = zeros(count * classes * batch_size)

    def __len__(self) -> int:
        return len(self.live_H)

    def step(self, rows_bD: Tensor, labels_b: Tensor, factor: float, at: int) -> None:
        """Take one step of all heads; ``factor`` is the schedule's."""
        heads, classes, images = len(self), self.classes, len(rows_bD)
        tall = (heads * classes, self.dims)
        scores = self._scores[: heads * classes * images].view(heads * classes, images)
        torch.addmm(
            self.bias.view(-1, 1), self.weights.view(tall), rows_bD.T, out=scores
        )
        shares_HCb = torch.softmax(scores.view(heads, classes, images), dim=1)
        label_H1b = labels_b.view(1, 1, -1).expand(heads, 1, images)
        # NaN wherever a score is not finite; a share may well round to 0.
        told_Hb = shares_HCb.gather(1, label_H1b).squeeze(1)
        told_Hb = told_Hb.clamp_min(torch.finfo(told_Hb.dtype).tiny)
        loss_H = told_Hb.log_().mean(1).neg_()
        self.loss_H += loss_H * images
        first_H = (self.bad_H < 0) & ~torch.isfinite(loss_H)
        self.bad_H.masked_fill_(first_H, at)

        torch.threshold_(shares_HCb, _NOTHING, 0.0)
        shares_HCb.scatter_add_(1, label_H1b, self._minus_one.expand_as(label_H1b))
        slopes = shares_HCb.view(heads * classes, images)
        self.speed.mul_(self.momentum_H1).addcmul_(self.weights, self.decay_H1)
        self.speed.view(tall).addmm_(slopes, rows_bD, alpha=1 / images)
        self.bias_speed.mul_(self.momentum_H1).addcmul_(self.bias, self.decay_H1)
        self.bias_speed += slopes.view(heads, classes, images).mean(2)
        rate_H1 = self.rate_H1 * factor
        self.weights.addcmul_(self.speed, rate_H1, value=-1)
        self.bias.addcmul_(self.bias_speed, rate_H1, value=-1)

    def keep(self, kept_H: Tensor) -> None:
        """Go on with some of the heads."""
        for name in (
            *("live_H", "rate_H1", "decay_H1", "momentum_H1", "loss_H", "bad_H"),
            *("weights", "speed", "bias", "bias_speed"),
        ):
            setattr(self, name, getattr(self, name)[kept_H])


def train(
    rows: Rows,
    labels_n: Tensor,
    classes: int,
    heads: Sequence[Head],
    schedule: Schedule,
    progress: Callable[[int], None] | None = None,
) -> Trained:
    """Train heads on the same rows, side by side.

    Memory: some twice the weights of all heads, and twice their scores of a batch.
    Where a head has many classes already, few heads at a time are as fast.

    Args:
        rows: what is trained on.
        labels_n: class of every row, int64, from 0.
        classes: how many there are.
        heads: one or more.
        schedule: batches and epochs.
        progress: called with the number of heads after every epoch.
    """
    state = _Heads(heads, classes, rows, min(schedule.batch_size, len(rows)))
    diverged_H = np.full(len(heads), -1, dtype=np.int64)

    def look() -> None:
        """Take out what has diverged, and what is too small to matter."""
        state.speed = torch.hardshrink(state.speed, _NOTHING)
        bad_H = state.bad_H >= 0
        if bool(bad_H.any()):
            diverged_H[state.live_H[bad_H].cpu()] = state.bad_H[bad_H].cpu()
            state.keep(~bad_H)

    total, at = schedule.steps(len(rows)), 0
    for epoch in range(schedule.epochs):
        order_n = schedule.order(len(rows), epoch)
        places_n = rows.places(order_n)
        ordered_n = labels_n[torch.from_numpy(order_n).to(labels_n.device)]
        state.loss_H.zero_()
        for start in range(0, len(rows), schedule.batch_size):
            if not len(state):
                break
            batch = slice(start, start + schedule.batch_size)
            factor = (1 + math.cos(math.pi * at / total)) / 2
            state.step(rows.take(places_n[batch]), ordered_n[batch], factor, at)
            at += 1
            if at % _LOOK == 0:
                look()
        if progress is not None:
            progress(len(heads))
    # The last step can break what the loss before it did not show yet.
    broken_H = ~torch.isfinite(state.weights.sum(1) + state.bias.sum(1))
    state.bad_H.masked_fill_(broken_H & (state.bad_H < 0), at - 1)
    look()
    return _collect(state, diverged_H, len(rows))


def _collect(state: _Heads, diverged_H: NDArray[np.int64], images: int) -> Trained:
    """Put the heads that are left back among all."""
    count = len(diverged_H)
    if len(state) == count:
        weights, bias = state.weights, state.bias
    else:
        weights = state.weights.new_zeros(count, state.weights.shape[1])
        bias = state.bias.new_zeros(count, state.classes)
        weights[state.live_H], bias[state.live_H] = state.weights, state.bias
    losses_H = np.full(count, np.nan)
    losses_H[state.live_H.cpu()] = (state.loss_H / images).cpu()
    return Trained(weights.view(count, -1, state.dims), bias, losses_H, diverged_H)


def count_hits(
    rows: Rows, labels_n: Tensor, weights_HCD: Tensor, bias_HC: Tensor
) -> NDArray[np.int64]:
    """Count for every head the rows whose class has the highest score.

    Args:
        rows: what is asked.
        labels_n: class of every row, int64.
        weights_HCD: of the heads.
        bias_HC: their intercepts.

    Returns:
        (H,) counts.
    """
    heads, classes, dims = weights_HCD.shape
    hits_H = torch.zeros(heads, dtype=torch.int64, device=rows.device)
    for part, rows_bD in rows.blocks(max(1, _SCORES // (heads * classes))):
        scores = torch.addmm(
            bias_HC.reshape(-1, 1), weights_HCD.reshape(-1, dims), rows_bD.T
        )
        found_Hb = scores.view(heads, classes, -1).argmax(1)
        hits_H += (found_Hb == labels_n[part]).sum(1)
    return hits_H.cpu().numpy()


def rank_classes(
    rows: Rows, weights_CD: Tensor, bias_C: Tensor, top: int
) -> NDArray[Any]:
    """Return for every row the classes of one head with the highest scores.

    Args:
        rows: what is asked.
        weights_CD: of the head.
        bias_C: its intercepts.
        top: how many classes, at most C.

    Returns:
        (n, top) int64, the best first.
    """
    found = np.empty((len(rows), top), dtype=np.int64)
    for part, rows_bD in rows.blocks(max(1, _SCORES // len(weights_CD))):
        scores_bC = torch.addmm(bias_C, rows_bD, weights_CD.T)
        found[part] = scores_bC.topk(top, dim=1).indices.cpu().numpy()
    return found
