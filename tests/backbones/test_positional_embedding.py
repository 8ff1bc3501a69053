"""Positions at another size: against Hugging Face, timm, and sums by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_bench import backbones, checkpoints
from ssl_bench.backbones.positional_embedding import resized, resized_table

SIZES = [(48, 48), (16, 48), (32, 40)]
"""Larger, and no squares; one of them is smaller than the 32 pixels of the weights."""


def cubic(distance: float) -> float:
    """Keys' cubic kernel with a = -0.75, which torch has without antialiasing."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def row_weights(old: int, new: int) -> Tensor:
    """What each new place takes of each old one, pixel centres aligned."""
    weights = torch.zeros(new, old, dtype=torch.float64)
    for target in range(new):
        centre = (target + 0.5) * old / new - 0.5
        first = int(centre // 1)
        for source in range(first - 1, first + 3):
            weights[target, min(max(source, 0), old - 1)] += cubic(centre - source)
    return weights


def by_hand(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    square = positions.double().reshape(*old, -1)
    down, across = row_weights(old[0], new[0]), row_weights(old[1], new[1])
    moved = torch.einsum("yv,xu,vud->yxd", down, across, square)
    return moved.reshape(new[0] * new[1], -1).float()


@pytest.mark.parametrize("new", [(6, 6), (2, 6), (4, 5), (3, 1)])
def test_positions_are_the_cubic_sums(new: tuple[int, int]) -> None:
    positions = torch.randn(1, 2 + 16, 5)
    got = resized(positions, (4, 4), new, prefix=2, antialias=False)
    assert torch.equal(got[:, :2], positions[:, :2])
    expected = by_hand(positions[0, 2:], (4, 4), new)
    torch.testing.assert_close(got[0, 2:], expected, rtol=1e-5, atol=1e-5)


def test_a_table_is_resampled_but_for_the_class_token() -> None:
    table = torch.randn(7 * 7 + 3, 2)
    got = resized_table(table, (4, 4), (3, 6), extra=3)
    assert torch.equal(got[-3:], table[-3:])
    expected = by_hand(table[:-3], (7, 7), (5, 11))
    torch.testing.assert_close(got[:-3], expected, rtol=1e-5, atol=1e-5)


def test_the_native_grid_is_left_alone() -> None:
    positions, table = torch.randn(1, 17, 5), torch.randn(52, 2)
    assert resized(positions, (4, 4), (4, 4), prefix=1, antialias=True) is positions
    assert resized_table(table, (4, 4), (4, 4), extra=3) is table


def test_half_precision_is_resampled_in_float32() -> None:
    positions = torch.randn(1, 17, 5).bfloat16()
    got = resized(positions, (4, 4), (6, 6), prefix=1, antialias=False)
    exact = resized(positions.float(), (4, 4), (6, 6), prefix=1, antialias=False)
    assert torch.equal(got, exact.bfloat16())


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_at_another_size_is_hugging_faces(
    registers: int, size: tuple[int, int], tmp_path: Any
) -> None:
    """Without registers plainly, with them by antialiasing."""
    options: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "image_size": 32,
        "patch_size": 8,
    }
    if registers:
        config: Any = transformers.Dinov2WithRegistersConfig(
            **options, num_register_tokens=registers
        )
        theirs: Any = transformers.Dinov2WithRegistersModel(config)
    else:
        theirs = transformers.Dinov2Model(transformers.Dinov2Config(**options))
    shaken(theirs)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    ours = checkpoints.load_backbone(tmp_path / "model.pth")
    batch = torch.randn(2, 3, *size)
    expected = theirs(batch).last_hidden_state
    torch.testing.assert_close(ours(batch), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES)
def test_registers_at_another_size_are_timms(size: tuple[int, int]) -> None:
    theirs = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=2,
        num_heads=1,
        num_classes=0,
        reg_tokens=4,
        no_embed_class=True,
        dynamic_img_size=True,
    )
    shaken(theirs)
    ours = backbones.build(backbones.infer(theirs.state_dict()), 0)
    ours.load_state_dict(theirs.state_dict())
    batch = torch.randn(2, 3, *size)
    expected = theirs.forward_features(batch)
    torch.testing.assert_close(ours(batch), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES)
def test_the_inference_copy_takes_other_sizes(size: tuple[int, int]) -> None:
    backbone = backbones.build("vit_w64_d2_patch8_32", 1)
    batch = torch.randn(2, 3, *size)
    exact = backbone(batch)
    fast = backbone.for_inference(torch.bfloat16, "cpu")(batch)
    assert (fast.float() - exact).norm() / exact.norm() < 0.02


def test_a_network_follows_its_positions() -> None:
    backbone = backbones.build("vit_w64_d2_patch8_32", 1)
    batch = torch.randn(1, 3, 48, 48)
    fast = backbone.for_inference(torch.float32, "cpu")
    with torch.inference_mode():
        before = backbone(batch)
        first, second = fast(batch), fast(batch)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, before, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        backbone.pos_embed.mul_(-9.0)  # type: ignore[union-attr,operator]
    backbone(batch).sum().backward()
    assert not torch.allclose(backbone(batch), before, atol=1e-3)
    assert backbone.pos_embed.grad is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["", "_abs_sharedrel"])
def test_a_beit_can_be_trained_after_it_was_only_asked(kind: str) -> None:
    backbone = backbones.build(f"beit_w64_d2_patch8{kind}_32", 1)
    batch = torch.randn(1, 3, 40, 24)
    with torch.inference_mode():
        expected = backbone(batch)
    got = backbone(batch)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    got.square().sum().backward()
    tables = [p for n, p in backbone.named_parameters() if n.endswith("bias_table")]
    assert tables
    assert all(p.grad is not None and p.grad.any() for p in tables)


def shaken(network: nn.Module) -> None:
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in network.eval().parameters():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=draw))
