"""Turn the map or the tokens of a tap into one vector an image, always in float32.

Axes: B batch, C channels, H and W of a map, T tokens, D width.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ssl_bench.errors import BenchError, unknown

AVERAGE = "average"
CLASS_TOKEN = "class_token"
PATCH_MEAN = "patch_mean"
KINDS = (AVERAGE, CLASS_TOKEN, PATCH_MEAN)


def global_average(map_BCHW: Tensor) -> Tensor:
    """Average a map over its pixels, summing in float32.

    Returns:
        (B, C) float32.

    Raises:
        BenchError: if the tensor is no map.
    """
    if map_BCHW.ndim != 4:
        raise BenchError(
            f"a map to average has shape (B, C, H, W), got {tuple(map_BCHW.shape)}"
        )
    return map_BCHW.float().mean(dim=(2, 3))


def class_token(tokens_BTD: Tensor) -> Tensor:
    """Take the first token.

    Returns:
        (B, D) float32.

    Raises:
        BenchError: if the tensor holds no tokens.
    """
    return _tokens(tokens_BTD)[:, 0].float()


def patch_mean(tokens_BTD: Tensor, num_prefix: int) -> Tensor:
    """Average the tokens that stand for patches, in float32.

    Args:
        tokens_BTD: class and register tokens first, patches after them.
        num_prefix: how many tokens come before the patches.

    Returns:
        (B, D) float32.

    Raises:
        BenchError: if the tensor holds no patches.
    """
    if not 0 <= num_prefix < _tokens(tokens_BTD).shape[1]:
        raise BenchError(
            f"{tokens_BTD.shape[1]} tokens, of which {num_prefix} are no patches, "
            "leave nothing to average"
        )
    return tokens_BTD[:, num_prefix:].float().mean(dim=1)


class Pooled(Protocol):
    """Say what a network's taps are, as `ssl_bench.backbones.Backbone` does."""

    tap_pooling: str
    num_prefix_tokens: int


def pooling_kind(backbone: Pooled, tap: str) -> str:
    """Return the rule by which a tap becomes one vector.

    All taps of our networks are of one sort, so that the answer does not yet depend
    on ``tap``: maps are averaged, tokens follow the final one.
    """
    del tap
    return backbone.tap_pooling


def pool(features: Tensor, kind: str, backbone: Pooled) -> Tensor:
    """Pool a tap by the name of the rule.

    Args:
        features: map (B, C, H, W) or tokens (B, T, D).
        kind: ``average``, ``class_token`` or ``patch_mean``.
        backbone: says how many tokens come before the patches.

    Returns:
        (B, C) or (B, D), float32.

    Raises:
        BenchError: for an unknown rule, or one that does not fit the tensor.
    """
    if kind == AVERAGE:
        return global_average(features)
    if kind == CLASS_TOKEN:
        return class_token(features)
    if kind == PATCH_MEAN:
        return patch_mean(features, backbone.num_prefix_tokens)
    raise BenchError(unknown("pooling", kind, KINDS))


def _tokens(tokens_BTD: Tensor) -> Tensor:
    if tokens_BTD.ndim != 3 or tokens_BTD.shape[1] == 0:
        raise BenchError(
            f"tokens to pool have shape (B, T, D), got {tuple(tokens_BTD.shape)}"
        )
    return tokens_BTD
