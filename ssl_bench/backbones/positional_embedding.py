"""Fit a positional embedding to another grid of patches, as its producers do.

Axes: T tokens, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Grid = tuple[int, int]
"""Patches from top to bottom and from left to right."""


def resized(
    positions_1TD: Tensor, old: Grid, new: Grid, *, prefix: int, antialias: bool
) -> Tensor:
    """Resample the positions of the patches bicubically.

    Class and register tokens keep their positions, and a grid that fits already is
    returned as it is. Pixel centres are aligned (``align_corners=False``) and the sum
    is in float32.

    Args:
        positions_1TD: prefix tokens first, then the patches row by row.
        old: grid of the patches.
        new: grid that is wanted.
        prefix: how many tokens come before the patches.
        antialias: whether shrinking averages over what it skips.

    Returns:
        (1, prefix + new patches, D), in the type of the positions.
    """
    if old == new:
        return positions_1TD
    first, patches = positions_1TD[:, :prefix], positions_1TD[:, prefix:]
    width = positions_1TD.shape[2]
    map_1DHW = patches.float().transpose(1, 2).reshape(1, width, *old)
    fitted = nn.functional.interpolate(
        map_1DHW, size=new, mode="bicubic", align_corners=False, antialias=antialias
    )
    tokens = fitted.flatten(2).transpose(1, 2).to(positions_1TD.dtype)
    return torch.cat([first, tokens], dim=1)


def resized_table(table_NH: Tensor, old: Grid, new: Grid, *, extra: int) -> Tensor:
    """Resample a table of relative positions bicubically.

    Args:
        table_NH: a bias for every offset between two patches and every head, then the
            rows of the class token.
        old: grid of the patches that the table was made for.
        new: grid that is wanted.
        extra: number of rows of the class token, which stay as they are.

    Returns:
        The table for the new grid, in the type of the old one.
    """
    if old == new:
        return table_NH
    offsets, rest = table_NH[: len(table_NH) - extra], table_NH[len(table_NH) - extra :]
    map_1HYX = offsets.float().T.reshape(1, table_NH.shape[1], *_offsets(old))
    fitted = nn.functional.interpolate(
        map_1HYX, size=_offsets(new), mode="bicubic", align_corners=False
    )
    return torch.cat([fitted[0].flatten(1).T.to(table_NH.dtype), rest])


def _offsets(grid: Grid) -> Grid:
    return 2 * grid[0] - 1, 2 * grid[1] - 1


def square(patches: int) -> int | None:
    """Return the edge of a square grid; None if the number is not a square."""
    edge = math.isqrt(max(patches, 0))
    return edge if edge and edge * edge == patches else None
