"""Many heads at once against torch's own SGD, against hand arithmetic, by properties.

Axes: N images, H heads, C classes, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_bench.solvers.linear_heads import (
    Head,
    Schedule,
    Trained,
    count_hits,
    rank_classes,
    train,
)
from ssl_bench.solvers.rows import Rows, matrix
from tests.reference import probe as reference

CPU = torch.device("cpu")
HEADS = [Head(0.3, 0.0, 0.9), Head(0.01, 0.1, 0.5), Head(1.0, 1e-3, 0.0)]


def scene(
    seed: int, images: int = 70, dims: int = 6, classes: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Draw classes that lie apart, but not far."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = rng.normal(size=(classes, dims))
    return centres[labels] + rng.normal(size=(images, dims)), labels


def rows_of(feats: np.ndarray) -> Rows:
    return Rows(matrix(feats, CPU), device=CPU)


def fit(
    feats: np.ndarray, labels: np.ndarray, heads: Sequence[Head], schedule: Schedule
) -> Trained:
    return train(
        rows_of(feats), torch.from_numpy(labels), labels.max() + 1, heads, schedule
    )


def by_torch(
    feats: np.ndarray, labels: np.ndarray, head: Head, schedule: Schedule
) -> tuple[Tensor, Tensor, list[float]]:
    """Train one head with torch's own layer, loss, optimiser and schedule."""
    rows, targets = torch.from_numpy(feats), torch.from_numpy(labels)
    layer = torch.nn.Linear(feats.shape[1], int(labels.max()) + 1, dtype=rows.dtype)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(
        layer.parameters(),
        lr=head.rate,
        momentum=head.momentum,
        weight_decay=head.decay,
    )
    total = schedule.steps(len(feats))
    # The closed form: torch's own CosineAnnealingLR adds up what rounding leaves.
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: (1 + math.cos(math.pi * step / total)) / 2
    )
    losses = []
    for epoch in range(schedule.epochs):
        order = torch.from_numpy(
            np.random.RandomState([schedule.seed, epoch]).permutation(len(feats))
        )
        for batch in order.split(schedule.batch_size):
            loss = functional.cross_entropy(layer(rows[batch]), targets[batch])
            losses.append(loss.item())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cosine.step()
    return layer.weight.detach(), layer.bias.detach(), losses


def test_two_steps_by_hand() -> None:
    """Two images, x = 2 of class 0 and x = -2 of class 1; all in one batch.

    Step 1, at the full rate 0.1: both classes have the share 1/2, so that the gradient
    of w_0 is ((1/2 - 1) 2 + (1/2 - 0) (-2)) / 2 = -1, and w_0 = 0.1 = -w_1. Intercepts
    stay at 0 throughout.
    Step 2, at half the rate: the scores of an image are 0.2 and -0.2, the right class
    has the share 1 / (1 + exp(-0.4)) = 0.598688, and the gradient of w_0 is
    -2 (1 - 0.598688) = -0.802624. With momentum 0.9 and decay 0.5 the speed is
    0.9 (-1) - 0.802624 + 0.5 (0.1) = -1.652624, and w_0 = 0.1 + 0.05 * 1.652624.
    """
    feats, labels = np.array([[2.0], [-2.0]]), np.array([0, 1])
    found = fit(feats, labels, [Head(0.1, 0.5, 0.9)], Schedule(2, 2, seed=0))
    expected = 0.1 + 0.05 * 1.652624
    assert found.weights_HCD.flatten().tolist() == pytest.approx(
        [expected, -expected], abs=1e-6
    )
    assert found.bias_HC.abs().max() < 1e-12
    assert found.losses_H[0] == pytest.approx(-math.log(0.598688), abs=1e-6)
    assert found.diverged_H.tolist() == [-1]


@pytest.mark.parametrize(("epochs", "batch"), [(1, 16), (3, 7), (40, 20)])
def test_every_head_is_as_torch_trains_it_alone(epochs: int, batch: int) -> None:
    feats, labels = scene(1)
    schedule = Schedule(epochs, batch, seed=3)
    found = fit(feats, labels, HEADS, schedule)
    for number, head in enumerate(HEADS):
        weights, bias, losses = by_torch(feats, labels, head, schedule)
        torch.testing.assert_close(
            found.weights_HCD[number], weights, atol=1e-10, rtol=0
        )
        torch.testing.assert_close(found.bias_HC[number], bias, atol=1e-10, rtol=0)
        # Batches count by their images: the last one of an epoch is smaller.
        sizes = [min(batch, 70 - start) for start in range(0, 70, batch)]
        last = np.average(losses[-len(sizes) :], weights=sizes)
        assert found.losses_H[number] == pytest.approx(last, abs=1e-10)


def test_every_head_is_as_the_reference_has_it() -> None:
    feats, labels = scene(2)
    found = fit(feats, labels, HEADS, Schedule(2, 32, seed=5))
    for number, head in enumerate(HEADS):
        weights, bias = reference.sgd(
            feats,
            labels,
            rate=head.rate,
            decay=head.decay,
            momentum=head.momentum,
            epochs=2,
            batch_size=32,
            seed=5,
        )
        assert found.weights_HCD[number].numpy() == pytest.approx(weights, abs=1e-10)
        assert found.bias_HC[number].numpy() == pytest.approx(bias, abs=1e-10)


def test_float32_is_close() -> None:
    feats, labels = scene(3)
    schedule = Schedule(10, 16, seed=0)
    exact = fit(feats, labels, HEADS, schedule)
    single = fit(feats.astype(np.float32), labels, HEADS, schedule)
    assert single.weights_HCD.dtype == torch.float32
    torch.testing.assert_close(
        single.weights_HCD.double(), exact.weights_HCD, atol=1e-4, rtol=0
    )


def test_a_head_that_fits_for_long_is_as_in_torch() -> None:
    """Its shares and old gradients fall below what counts, and must not be missed."""
    feats, labels = scene(4, images=24)
    feats = feats + 50 * np.eye(4, 6)[labels]
    head, schedule = Head(10.0, 1e-3, 0.9), Schedule(200, 8, seed=0)
    found = fit(feats, labels, [head], schedule)
    weights, bias, _ = by_torch(feats, labels, head, schedule)
    torch.testing.assert_close(found.weights_HCD[0], weights, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.bias_HC[0], bias, atol=1e-9, rtol=1e-9)


def test_a_head_that_diverges_stops_alone() -> None:
    """A decay of 1 at rate 1e30 multiplies the weights by -1e30 at every step."""
    feats, labels = scene(5)
    schedule = Schedule(20, 16, seed=0)
    wild = Head(1e30, 1.0, 0.9)
    mixed = fit(feats, labels, [HEADS[0], wild, HEADS[1]], schedule)
    calm = fit(feats, labels, [HEADS[0], HEADS[1]], schedule)
    torch.testing.assert_close(
        mixed.weights_HCD[[0, 2]], calm.weights_HCD, atol=1e-11, rtol=0
    )
    torch.testing.assert_close(mixed.bias_HC[[0, 2]], calm.bias_HC, atol=1e-11, rtol=0)
    assert mixed.losses_H[[0, 2]] == pytest.approx(calm.losses_H, abs=1e-11)
    _, _, losses = by_torch(feats, labels, wild, schedule)
    first = next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
    assert 0 < first < len(losses) - 1
    assert mixed.diverged_H.tolist() == [-1, first, -1]
    assert mixed.weights_HCD[1].abs().max() == 0
    assert mixed.bias_HC[1].abs().max() == 0
    assert math.isnan(mixed.losses_H[1])


def test_heads_that_all_diverge_end_the_training() -> None:
    feats, labels = scene(5)
    seen: list[int] = []
    found = train(
        rows_of(feats),
        torch.from_numpy(labels),
        4,
        [Head(1e30, 1.0, 0.9)] * 2,
        Schedule(30, 16, seed=0),
        seen.append,
    )
    assert (found.diverged_H > 0).all()
    assert found.weights_HCD.shape == (2, 4, 6)
    assert seen == [2] * 30


def test_a_last_step_that_breaks_a_head_is_seen() -> None:
    """One step: the loss before it is log 2, the weights after it are not finite."""
    feats = np.array([[100.0], [-100.0]], np.float32)
    labels = np.array([0, 1])
    found = fit(feats, labels, [Head(3e38, 0.0, 0.0)], Schedule(1, 2, seed=0))
    assert found.diverged_H.tolist() == [0]
    assert found.weights_HCD.abs().max() == 0


def test_the_schedule() -> None:
    schedule = Schedule(3, 4, seed=7)
    assert schedule.steps(9) == 9
    assert schedule.steps(8) == 6
    orders = [schedule.order(9, epoch).tolist() for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(9))
    assert orders[0] != orders[1]
    assert Schedule(1, 4, seed=7).order(9, 0).tolist() == orders[0]
    assert Schedule(3, 4, seed=8).order(9, 0).tolist() != orders[0]
    # Written down once: a change of the order would move every number.
    assert Schedule(1, 4, seed=0).order(8, 0).tolist() == [3, 7, 4, 0, 2, 6, 5, 1]


def test_an_image_alone_and_a_batch_larger_than_the_data() -> None:
    feats, labels = scene(6, images=4)
    found = fit(feats, labels, HEADS[:1], Schedule(2, 1000, seed=0))
    weights, _, _ = by_torch(feats, labels, HEADS[0], Schedule(2, 1000, seed=0))
    torch.testing.assert_close(found.weights_HCD[0], weights, atol=1e-12, rtol=0)


def test_nothing_global_is_drawn() -> None:
    feats, labels = scene(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit(feats, labels, HEADS, Schedule(2, 16, seed=0))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_hits_and_ranks_by_hand() -> None:
    """Scores of head 0 are x, 2 - x and 0: 0.5 -> class 1, 1.5 -> 0, -3 -> 1."""
    rows = rows_of(np.array([[0.5], [1.5], [-3.0]]))
    weights = torch.tensor([[[1.0], [-1.0], [0.0]], [[0.0], [0.0], [0.0]]]).double()
    bias = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]).double()
    labels = torch.tensor([1, 0, 2])
    assert count_hits(rows, labels, weights, bias).tolist() == [2, 1]
    ranks = rank_classes(rows, weights[0], bias[0], 3)
    assert ranks.tolist() == [[1, 0, 2], [0, 1, 2], [1, 2, 0]]
    assert rank_classes(rows, weights[0], bias[0], 1).tolist() == [[1], [0], [1]]


def test_hits_of_many_rows_are_counted_block_by_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feats, labels = scene(8, images=50)
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(rng.normal(size=(5, 4, 6)))
    bias = torch.from_numpy(rng.normal(size=(5, 4)))
    scores = np.einsum("hcd,nd->hnc", weights, feats) + bias.numpy()[:, None]
    expected = (scores.argmax(2) == labels).sum(1)
    monkeypatch.setattr("ssl_bench.solvers.linear_heads._SCORES", 100)
    found = count_hits(rows_of(feats), torch.from_numpy(labels), weights, bias)
    assert found.tolist() == expected.tolist()
    ranks = rank_classes(rows_of(feats), weights[0], bias[0], 4)
    assert ranks.tolist() == np.argsort(-scores[0], axis=1).tolist()
