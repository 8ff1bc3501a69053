"""Fold batch norm into the convolution before it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import nn


@torch.no_grad()
def fold_into(conv: nn.Module, norm: nn.Module) -> nn.Module:
    """Make ``conv`` compute ``norm(conv(x))``, with one rounding: out of float64.

    Args:
        conv: changed in place; it has a bias afterwards.
        norm: in evaluation mode; left as it is.

    Returns:
        What is to stand in the place of ``norm``: its activation, where it has one of
        its own as timm's has, or else the identity.
    """
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = -norm.running_mean.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double()
    bias = norm.bias.double() + shift * scale
    folded = conv.weight.double() * scale[:, None, None, None]
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter(folded.to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()


def fold_sequences(network: nn.Module) -> None:
    """Fold every batch norm that directly follows a convolution in a Sequential."""
    for parent in list(network.modules()):
        if isinstance(parent, nn.Sequential):
            for (_, conv), (name, norm) in list(pairwise(parent.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(parent, name, fold_into(conv, norm))


def fold_named(network: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Fold the named batch norms of every module that has both of a pair.

    Args:
        network: changed in place.
        pairs: names of a convolution, or a Sequential that ends in one, and of the
            batch norm after it, as attributes of one module.
    """
    names = tuple(pairs)
    for parent in list(network.modules()):
        for first, second in names:
            conv, norm = getattr(parent, first, None), getattr(parent, second, None)
            if isinstance(conv, nn.Sequential):
                conv = conv[-1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, second, fold_into(conv, norm))
