"""Swin transformers of files: what computed tensors show, and optional tensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import checkpoints
from ssl_bench.checkpoints import swin_buffers
from tests.producers.keys import keyed
from tests.producers.openmmlab_algorithms import SWIN, WINDOWS, built, feature
from tests.producers.swin import timm_swin
from tests.producers.swin_official import of_hf

ATTENTION = "layers.{stage}.blocks.{block}.attn."


def table(window: int, scale: int) -> torch.Tensor:
    """Return coordinates whose largest is the window's edge over the scale's, by 8."""
    largest = math.log2(8 * (window - 1) / (scale - 1) + 1) / 3
    size = 2 * window - 1
    return torch.linspace(-largest, largest, size * size * 2).view(1, size, size, 2)


@pytest.mark.parametrize(
    ("pairs", "windows", "pretrained"),
    [
        ([(8, 8), (8, 8)], (8, 8), ()),
        ([(16, 12), (16, 12)], (16, 16), (12, 12)),
        ([(24, 12), (12, 6)], (24, 12), (12, 6)),
        ([(7, 7), (3, 3)], (7, 3), ()),
    ],
)
def test_tables_show_windows(
    pairs: list[tuple[int, int]], windows: tuple[int, ...], pretrained: tuple[int, ...]
) -> None:
    tensors = {
        f"layers.{stage}.blocks.0.attn.relative_coords_table": table(*pair)
        for stage, pair in enumerate(pairs)
    }
    found = swin_buffers.shown(tensors, ATTENTION)
    assert found == {"windows": windows, "pretrained": pretrained}


def test_a_mask_shows_its_window_and_the_size_of_the_images() -> None:
    """64 windows of 7 x 7 patches of 4 pixels: 8 x 7 x 4 pixels an edge."""
    tensors = {
        "patch_embed.proj.weight": torch.zeros(96, 3, 4, 4),
        "layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49),
    }
    found = swin_buffers.shown(tensors, ATTENTION)
    assert found == {"size": 224, "windows": (7,)}


@torch.inference_mode()
def test_an_absolute_embedding_is_taken(tmp_path: Path) -> None:
    state = keyed("swin_ape")
    theirs = of_hf(state, 1, image_size=64, window_size=2, use_absolute_embeddings=True)
    torch.save({"model": state}, tmp_path / "model.pth")
    made = checkpoints.load_backbone(tmp_path / "model.pth")
    assert made.arch == "swin_e8_d2-2-2-2_h1-2-4-8_patch4_window2_ape_64"
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = theirs(images).pooler_output
    got = made(images).mean((2, 3))
    assert (got - expected).norm() / expected.norm() < 1e-5


@torch.inference_mode()
def test_norms_of_other_maps_are_dropped_by_a_rule(tmp_path: Path) -> None:
    """As a detector's backbone has them."""
    config: dict[str, Any] = {
        "type": "SwinTransformer",
        "arch": SWIN,
        "img_size": 64,
        "stage_cfgs": WINDOWS,
        "out_indices": (0, 1, 2, 3),
    }
    theirs = built(config, 5)
    state = theirs.state_dict()
    assert "norm0.weight" in state
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    made = checkpoints.load_backbone(tmp_path / "model.pth")
    assert made.weights is not None
    assert made.weights.layout == "mm_swin"
    assert len(made.weights.coverage.dropped["norms of other maps"]) == 6
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = feature(theirs)(images)
    got = made(images).mean((2, 3))
    assert (got - expected).norm() / expected.norm() < 1e-5


def test_a_v2_without_tables_is_taken_for_a_published_one(tmp_path: Path) -> None:
    """timm keeps no tables; windows of 4 look like windows of 8."""
    torch.save(timm_swin(2, 22, 4).state_dict(), tmp_path / "model.pth")
    weights = checkpoints.load(tmp_path / "model.pth")
    assert weights.arch == "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window8_256"
    asked = "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window4_64"
    assert checkpoints.load(tmp_path / "model.pth", arch=asked).arch == asked
