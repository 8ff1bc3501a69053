"""Stochastic depth for networks that were built without it."""

from __future__ import annotations

from torch import nn

from ssl_bench.backbones import Backbone
from ssl_bench.errors import ConfigError

_NAMES = ("drop_path1", "drop_path2", "drop_path")


def set_drop_path(network: Backbone, rate: float) -> None:
    """Let residual branches be dropped, the deeper the more often.

    Args:
        network: its blocks have ``drop_path``, or ``drop_path1`` and ``drop_path2``, as
            timm's do.
        rate: of the last block; the first is never dropped, those between in equal
            steps.

    Source: Huang et al. 2016, arXiv:1603.09382 (linear decay); timm, VisionTransformer.

    Raises:
        ConfigError: for a rate outside 0 to 1, or a network without such branches.
    """
    from timm.layers import DropPath

    if not 0 <= rate < 1:
        raise ConfigError([f"model.drop_path={rate} is not between 0 and 1"])
    blocks = [
        module
        for module in network.modules()
        if any(isinstance(getattr(module, name, None), nn.Module) for name in _NAMES)
    ]
    if not blocks:
        raise ConfigError(
            [
                f"{network.arch} has no branches that drop_path could drop; leave it "
                "out: --cfg-options model.drop_path=0"
            ]
        )
    for depth, block in enumerate(blocks):
        own = rate * depth / max(1, len(blocks) - 1)
        for name in _NAMES:
            if isinstance(getattr(block, name, None), nn.Module):
                setattr(block, name, DropPath(own) if own else nn.Identity())
