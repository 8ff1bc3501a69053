"""Mixup and CutMix: what is mixed, with what, and from which draws."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.training.mixing import Mixing, soft_cross_entropy
from tests.reference import training

CLASSES = 4


def mixing(**options: Any) -> Mixing:
    given = {
        "mixup": 0.0,
        "cutmix": 0.0,
        "prob": 1.0,
        "switch_prob": 0.5,
        "label_smoothing": 0.0,
        "seed": 0,
    }
    return Mixing(CLASSES, **{**given, **options})


def batch(count: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """Return images that show their number everywhere, and classes."""
    numbers = torch.arange(1.0, count + 1).view(-1, 1, 1, 1)
    return numbers.expand(count, 3, size, size).contiguous(), torch.arange(count) % 4


def labels(targets_B: Tensor, share: float, smoothing: float = 0.0) -> Tensor:
    found = training.mixed_labels(targets_B.tolist(), CLASSES, share, smoothing)
    return torch.from_numpy(found).float()


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_mixup_mixes_images_and_labels_by_one_share(count: int) -> None:
    images, targets = batch(count)
    shares = []
    for step in range(20):
        mixed, soft = mixing(mixup=0.8)(images, targets, step, 0)
        # Image n shows n + 1, its partner count - n: the first tells the share.
        values = mixed[:, 0, 0, 0]
        share = 1.0 if count == 1 else float((values[0] - count) / (1 - count))
        shares.append(share)
        own = torch.arange(1.0, count + 1)
        assert torch.allclose(values, share * own + (1 - share) * own.flip(0))
        assert bool((mixed == values.view(-1, 1, 1, 1)).all())
        assert torch.allclose(soft, labels(targets, share), atol=1e-6)
        assert soft.dtype == torch.float32 and soft.shape == (count, CLASSES)
    if count > 1:
        assert len({round(share, 6) for share in shares}) == 20


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_cutmix_pastes_one_box_and_labels_follow_its_area(count: int) -> None:
    images, targets = batch(count)
    areas = set()
    for step in range(20):
        mixed, soft = mixing(cutmix=1.0)(images, targets, step, 0)
        pasted = mixed != images
        area = int(pasted[0, 0].sum())
        areas.add(area)
        assert torch.equal(mixed, torch.where(pasted, images.flip(0), images))
        box = pasted[0, 0]
        rows, columns = box.any(1).sum(), box.any(0).sum()
        assert rows * columns == area
        paired = [n for n in range(count) if n != count - 1 - n]
        assert all(torch.equal(pasted[n, c], box) for n in paired for c in range(3))
        if paired:
            assert torch.allclose(soft, labels(targets, 1 - area / 64), atol=1e-6)
    assert len(areas) > (5 if count > 1 else 0)


def test_draws_are_of_seed_step_and_process_alone() -> None:
    images, targets = batch(6)
    made = mixing(mixup=0.8, cutmix=1.0)
    first = made(images, targets, 3, 1)
    made(images, targets, 4, 0)
    np.random.seed(5)
    again = mixing(mixup=0.8, cutmix=1.0)(images, targets, 3, 1)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    others = [
        mixing(mixup=0.8, cutmix=1.0, seed=1)(images, targets, 3, 1),
        made(images, targets, 4, 1),
        made(images, targets, 3, 0),
        made(images, targets, 31, 0),
    ]
    assert all(not torch.equal(first[1], other[1]) for other in others)


def test_global_generators_and_inputs_stay_as_they_were() -> None:
    images, targets = batch(6)
    before = images.clone(), targets.clone()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    for step in range(4):
        mixing(mixup=0.8, cutmix=1.0, label_smoothing=0.1)(images, targets, step, 0)
        with pytest.raises(BenchError, match="norm them first"):
            mixing(mixup=0.8)(images.byte(), targets, 0, 0)
        with pytest.raises(RuntimeError):  # a class that is none, beneath the seed
            mixing(mixup=0.8)(images, targets + CLASSES, 0, 0)
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == expected
    assert torch.equal(images, before[0]) and torch.equal(targets, before[1])


def test_shares_of_batches() -> None:
    images, targets = batch(2)
    kinds = []
    for step in range(400):
        made = mixing(mixup=0.8, cutmix=1.0, prob=0.5, switch_prob=0.25)
        mixed, _ = made(images, targets, step, 0)
        values = len(mixed[0].unique())
        whole = torch.equal(mixed, images)
        kinds.append("none" if whole else "mixup" if values == 1 else "cutmix")
    # Half, three eighths and an eighth; three deviations of 400 draws are 30, 29, 20.
    # A box without area looks like nothing, and one of all pixels like mixup.
    assert abs(kinds.count("none") - 200) < 35
    assert abs(kinds.count("mixup") - 150) < 35
    assert abs(kinds.count("cutmix") - 50) < 25


@pytest.mark.parametrize("count", [1, 3, 4])
def test_label_smoothing_alone(count: int) -> None:
    images, targets = batch(count)
    mixed, soft = mixing(label_smoothing=0.1)(images, targets, 0, 0)
    assert torch.equal(mixed, images)
    # 0.1 / 4 for every class, and 0.9 more for the true one.
    expected = torch.full((count, CLASSES), 0.025)
    expected[torch.arange(count), targets] = 0.925
    assert torch.allclose(soft, expected)
    logits = torch.randn(count, CLASSES, generator=torch.Generator().manual_seed(1))
    smoothed = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    assert torch.allclose(soft_cross_entropy(logits, soft), smoothed)


def test_smoothing_and_mixing_together() -> None:
    images, targets = batch(5)
    mixed, soft = mixing(mixup=0.8, label_smoothing=0.2)(images, targets, 0, 0)
    share = float((mixed[0, 0, 0, 0] - 5) / -4)
    assert torch.allclose(soft, labels(targets, share, 0.2), atol=1e-6)


def test_mixing_keeps_the_dtype_of_images() -> None:
    images, targets = batch(3)
    mixed, soft = mixing(mixup=0.8)(images.bfloat16(), targets, 0, 0)
    assert mixed.dtype == torch.bfloat16 and soft.dtype == torch.float32


def test_soft_cross_entropy_by_hand() -> None:
    # Softmax of (0, ln 3) is (1/4, 3/4): 0.5 ln 4 + 0.5 ln (4/3), and ln (4/3).
    logits = torch.tensor([[0.0, np.log(3.0)], [0.0, np.log(3.0)]])
    soft = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    first, second = 0.5 * np.log(4) + 0.5 * np.log(4 / 3), np.log(4 / 3)
    found = soft_cross_entropy(logits, soft)
    assert float(found) == pytest.approx((first + second) / 2, abs=1e-6)
    assert soft_cross_entropy(logits.half(), soft).dtype == torch.float32


def test_everything_that_cannot_be_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        mixing(mixup=-1, cutmix=float("nan"), prob=2, switch_prob=-1, label_smoothing=7)
    said = caught.value.complaints
    assert [text.split("=")[0] for text in said] == [
        "mixup",
        "cutmix",
        "prob",
        "switch_prob",
        "label_smoothing",
    ]
