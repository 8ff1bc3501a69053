"""Pooling, by hand arithmetic."""

from __future__ import annotations

import pytest
import torch

from ssl_bench import pooling
from ssl_bench.backbones import Backbone, build
from ssl_bench.backbones.backbone import AVERAGE, CLASS_TOKEN, PATCH_MEAN
from ssl_bench.errors import BenchError


class Tokens:
    tap_pooling = "patch_mean"
    num_prefix_tokens = 1


def test_a_map_is_averaged_over_its_pixels() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 4.0]]]])
    assert torch.equal(pooling.global_average(maps), torch.tensor([[3.0, 1.0]]))


def test_sums_are_taken_in_float32() -> None:
    """In bf16, 256 + 1 is 256: a sum in that type would stand still."""
    maps = torch.ones(1, 1, 32, 32, dtype=torch.bfloat16)
    maps[..., 0, 0] = 256
    pooled = pooling.global_average(maps)
    assert pooled.dtype == torch.float32
    assert pooled.item() == (256 + 1023) / 1024


def test_tokens() -> None:
    tokens = torch.tensor([[[9.0, 8.0], [1.0, 2.0], [3.0, 6.0]]])
    assert torch.equal(pooling.class_token(tokens), torch.tensor([[9.0, 8.0]]))
    assert torch.equal(pooling.patch_mean(tokens, 1), torch.tensor([[2.0, 4.0]]))
    assert torch.equal(pooling.patch_mean(tokens, 2), torch.tensor([[3.0, 6.0]]))
    assert torch.equal(
        pooling.pool(tokens, "patch_mean", Tokens()), torch.tensor([[2.0, 4.0]])
    )
    assert torch.equal(
        pooling.pool(tokens, "class_token", Tokens()), torch.tensor([[9.0, 8.0]])
    )


@pytest.mark.parametrize(
    ("arch", "kind"),
    [
        ("resnet18-w4", "average"),
        ("vit_tiny_patch16_32", "class_token"),
        ("vit_tiny_patch16_gap_32", "patch_mean"),
    ],
)
def test_the_network_says_how_its_taps_are_pooled(arch: str, kind: str) -> None:
    backbone: Backbone = build(arch, 0)
    assert {pooling.pooling_kind(backbone, tap) for tap in backbone.dims} == {kind}
    taps = backbone.forward_taps(torch.zeros(2, 3, 32, 32), tuple(backbone.dims))
    for tap, value in taps.items():
        assert pooling.pool(value, kind, backbone).shape == (2, backbone.dims[tap])


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        ((2, 3), "average", r"shape \(B, C, H, W\), got \(2, 3\)"),
        ((2, 3, 4, 4), "class_token", r"shape \(B, T, D\), got \(2, 3, 4, 4\)"),
        ((2, 0, 4), "class_token", r"got \(2, 0, 4\)"),
        ((2, 1, 4), "patch_mean", "1 tokens, of which 1 are no patches"),
        ((2, 3, 4), "class-token", "Did you mean 'class_token'"),
    ],
)
def test_what_cannot_be_pooled(shape: tuple[int, ...], kind: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        pooling.pool(torch.zeros(shape), kind, Tokens())


def test_the_names_are_those_that_backbones_say() -> None:
    assert pooling.KINDS == (AVERAGE, CLASS_TOKEN, PATCH_MEAN)
