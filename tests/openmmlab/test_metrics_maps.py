"""mIoU and accuracies of label maps against counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.openmmlab.built import found_by, metric

pytestmark = pytest.mark.filterwarnings("ignore")


def test_miou_against_counts() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, (3, 11, 9))  # owls are nowhere
    guess = np.where(rng.random(truth.shape) < 0.7, truth, 1 - truth)
    truth[:, :2] = 255  # void, and guessed as anything
    guess[:, :2] = rng.integers(0, 3, (3, 2, 9))
    made = metric("ClassIoU", iou_metrics=["mIoU"])
    values = found_by(made, maps(truth, guess))
    counted = truth != 255
    iou, accuracy = [], []
    for label in (0, 1):
        true, said = (truth == label) & counted, (guess == label) & counted
        iou.append(100 * (true & said).sum() / (true | said).sum())
        accuracy.append(100 * (true & said).sum() / true.sum())
    overall = 100 * (truth == guess)[counted].mean()
    assert values == {
        "mIoU": pytest.approx(np.mean(iou), abs=1e-9),
        "mAcc": pytest.approx(np.mean(accuracy), abs=1e-9),
        "aAcc": pytest.approx(overall, abs=1e-9),
    }
    assert made.classwise_IoU["cat"] == pytest.approx(iou[0])
    assert made.classwise_IoU["dog"] == pytest.approx(iou[1])
    assert np.isnan(made.classwise_IoU["owl"])
    # MMSegmentation's own says the same, rounded.
    own = metric("ClassIoU", iou_metrics=["mIoU"])
    own.process({}, maps(truth, guess))
    rounded = type(own).__mro__[1].compute_metrics(own, own.results)
    assert {k: round(v, 2) for k, v in values.items()} == pytest.approx(rounded)


def maps(truth: NDArray[Any], guess: NDArray[Any]) -> list[dict[str, Any]]:
    return [
        {
            "pred_sem_seg": {"data": torch.from_numpy(said)[None]},
            "gt_sem_seg": {"data": torch.from_numpy(true)[None]},
        }
        for true, said in zip(truth, guess, strict=True)
    ]


def test_a_class_that_is_only_guessed_counts_as_wrong() -> None:
    truth = np.array([[[0, 0, 0, 1]]])
    guess = np.array([[[0, 0, 2, 1]]])
    made = metric("ClassIoU", iou_metrics=["mIoU"])
    values = found_by(made, maps(truth, guess))
    assert made.classwise_IoU == {
        "cat": pytest.approx(200 / 3),
        "dog": 100.0,
        "owl": 0.0,
    }
    assert values["mIoU"] == pytest.approx((200 / 3 + 100) / 3)
    # No pixel of it could have been right.
    assert values["mAcc"] == pytest.approx((200 / 3 + 100) / 2)
    assert values["aAcc"] == pytest.approx(75)


def test_no_pixel_is_lost_among_many() -> None:
    """Single precision counts to 2 ** 24, some sixty images of 512 pixels."""
    many = float(2**24)
    one = torch.tensor([1.0, 0.0, 0.0])
    first = (torch.tensor([many, 0, 0]),) * 4
    made = metric("ClassIoU", iou_metrics=["mIoU"])
    # A thousand images with one pixel each, which is right in none.
    values = made.compute_metrics([first, *[(0 * one, one, one, one)] * 1000])
    assert values["mIoU"] == pytest.approx(100 * many / (many + 1000), abs=1e-9)
    assert values["aAcc"] == pytest.approx(100 * many / (many + 1000), abs=1e-9)
