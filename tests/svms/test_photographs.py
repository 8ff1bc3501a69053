"""Both solvers on features of real photographs: the same choices, the same precision.

The photographs are the two that scikit-learn carries, cut into overlapping windows;
what a window shows is told from its pixels, and the features are the bundled network's.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

import ssl_bench
from ssl_bench import pooling
from ssl_bench.features import Features
from ssl_bench.protocols.svm import Settings
from ssl_bench.resources import find_dir
from ssl_bench.svms.full import solve_classes
from ssl_bench.svms.labels import Place, Split
from ssl_bench.svms.machine import LiblinearMachine, Machine

SIDE, STRIDE = 96, 19
CLASSES = ("china", "blue", "bright", "rough", "low")


def windows() -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Return windows of both photographs, (N, H, W, 3), and what they show (N, C)."""
    found, shown = [], []
    for number, photo in enumerate(load_sample_images().images):
        height, width = photo.shape[:2]
        for top in range(0, height - SIDE + 1, STRIDE):
            for left in range(0, width - SIDE + 1, STRIDE):
                window = photo[top : top + SIDE, left : left + SIDE]
                grey = window.mean(axis=2)
                found.append(window)
                shown.append(
                    (
                        number == 0,
                        window[..., 2].mean() - window[..., 0].mean(),
                        grey.mean(),
                        np.abs(np.diff(grey, axis=1)).mean(),
                        top,
                    )
                )
    values_NC = np.array(shown, dtype=np.float64)
    # Shares of images from a third to a twentieth show a class.
    limits_C = [
        np.quantile(values_NC[:, c], q) for c, q in enumerate((0.5, 0.9, 0.67, 0.95))
    ]
    limits_C = [0.5, *limits_C[1:], np.quantile(values_NC[:, 4], 0.8)]
    return np.stack(found), (values_NC > np.array(limits_C)).astype(np.int8)


def places() -> Place:
    images_NHWC, targets_NC = windows()
    folder = find_dir("bundled")
    backbone = ssl_bench.load_backbone(folder / "digit-scenes_resnet18-w24.pth")
    site = pooling.voc07_sites(backbone, (SIDE, SIDE), ["feat5"])[0]
    shape = (1, 3, 1, 1)
    mean = torch.tensor(backbone.input.mean).view(shape)
    std = torch.tensor(backbone.input.std).view(shape)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(images_NHWC), 64):
            block = torch.from_numpy(images_NHWC[start : start + 64]).permute(
                0, 3, 1, 2
            )
            maps = backbone.forward_taps((block.float() / 255 - mean) / std, [site.tap])
            rows.append(pooling.pool(maps[site.tap], site.pooling, backbone).numpy())
    feats_ND = np.concatenate(rows)
    splits = []
    for name, part in (("train", slice(0, None, 2)), ("test", slice(1, None, 2))):
        features = Features(
            feats_ND[part], targets_NC[part], site.tap, "-", "photographs", name, name
        )
        splits.append(Split(features, targets_NC[part], CLASSES))
    return Place("feat5", *splits)


@pytest.mark.slow
def test_the_solvers_agree_on_photographs() -> None:
    place = places()
    assert 300 < len(place.train) < 800
    for c in range(len(CLASSES)):
        assert 10 < place.train.positives(c) < 0.7 * len(place.train)
    ours = Settings()
    theirs = dataclasses.replace(
        ours, solver="liblinear", liblinear_tolerance=1e-8, liblinear_steps=1_000_000
    )
    found = []
    for kind, settings in ((Machine, ours), (LiblinearMachine, theirs)):
        machine = kind(
            place.train.features.feats_ND,
            place.test.features.feats_ND,
            settings,
            seed=0,
            device="cpu",
        )
        group = range(len(CLASSES))
        found.append(solve_classes(machine, group, place, settings, settings.folds))
    for c in range(len(CLASSES)):
        mine, other = found[0][c], found[1][c]
        assert mine["unsolved"] == other["unsolved"] == []
        # Two images of nearly the same decision that change places move it by 0.03.
        np.testing.assert_allclose(mine["cv_ap"], other["cv_ap"], rtol=0, atol=0.1)
        apart = other["cv_ap"][mine["chosen"]] - other["cv_ap"][other["chosen"]]
        assert abs(apart) < 1e-4
    means = [np.mean([one[c]["ap"] for c in one]) for one in found]
    assert abs(means[0] - means[1]) < 0.02
    assert 50 < means[0] < 100
