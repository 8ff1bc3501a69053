"""Mixup and CutMix: labels by hand, draws by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.training.mixing import Mixing, soft_cross_entropy
from tests.reference.training import mixed_labels

ALL = {
    "mixup": 0.8,
    "cutmix": 0.0,
    "prob": 1.0,
    "switch_prob": 0.5,
    "label_smoothing": 0.1,
    "seed": 3,
}


def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images that are constant, each of its own value, and their classes."""
    values = torch.arange(count, dtype=torch.float32) + 1
    return values.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone(), torch.arange(count) % 4


@pytest.mark.parametrize("count", [2, 6, 7, 1])
def test_mixup(count: int) -> None:
    images, targets = batch(count)
    mixed, labels = Mixing(4, **ALL)(images, targets, step=5, rank=0)
    # The share is read off the pictures: constant ones stay constant.
    mirrored = images.flip(0)
    apart = (images - mirrored)[:, 0, 0, 0]
    shares = ((mixed - mirrored)[:, 0, 0, 0] / apart)[apart != 0]
    share = float(shares[0]) if len(shares) else 1.0
    assert torch.allclose(shares, shares[:1].expand_as(shares), atol=1e-5)
    assert 0 <= share <= 1
    expected = mixed_labels(targets.tolist(), 4, share, 0.1)
    np.testing.assert_allclose(labels.numpy(), expected, atol=1e-5)
    if count % 2:
        assert torch.equal(mixed[count // 2], images[count // 2])


def test_cutmix_labels_count_the_pixels() -> None:
    images, targets = batch(6)
    options = {**ALL, "mixup": 0.0, "cutmix": 1.0, "label_smoothing": 0.0}
    mixed, labels = Mixing(4, **options)(images, targets, step=1, rank=0)
    own = (mixed == images).float().mean(dim=(1, 2, 3))
    share = float(own[0])
    assert torch.allclose(own, own[:1].expand_as(own))
    expected = mixed_labels(targets.tolist(), 4, share, 0.0)
    np.testing.assert_allclose(labels.numpy(), expected, atol=1e-5)


def test_draws_belong_to_step_and_process_and_nobody_else() -> None:
    images, targets = batch(6)
    kept = images.clone()
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    mixing = Mixing(4, **ALL)
    first, _ = mixing(images, targets, step=5, rank=0)
    others = [mixing(images, targets, *pair)[0] for pair in ((6, 0), (5, 1))]
    again, _ = Mixing(4, **ALL)(images, targets, step=5, rank=0)
    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in others)
    assert torch.equal(images, kept)
    assert np.array_equal(before, np.random.get_state()[1])


def test_smoothing_alone() -> None:
    images, targets = batch(3)
    options = {**ALL, "mixup": 0.0}
    mixed, labels = Mixing(4, **options)(images, targets, step=0, rank=0)
    assert torch.equal(mixed, images)
    expected = mixed_labels(targets.tolist(), 4, 1.0, 0.1)
    np.testing.assert_allclose(labels.numpy(), expected, atol=1e-6)


def test_soft_cross_entropy_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    by_hand = -(0.5 * np.log(0.5) + 0.5 * np.log(0.25) + np.log(0.8)) / 2
    assert float(soft_cross_entropy(logits, soft)) == pytest.approx(by_hand, rel=1e-6)


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError) as caught:
        Mixing(4, **{**ALL, "mixup": -1.0, "prob": 2.0})
    assert len(caught.value.complaints) == 2
    images, targets = batch(2)
    with pytest.raises(BenchError, match="norm them first"):
        Mixing(4, **ALL)(images.to(torch.uint8), targets, 0, 0)
