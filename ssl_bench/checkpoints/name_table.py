"""Tables from the names of a code base to ours, for networks made of blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class NameTable:
    """Rename by tables in which ``{}`` stands for ``weight`` and for ``bias``.

    Attributes:
        top: names outside the blocks.
        inside: names inside a block, on both sides without what says which block.
        block: what a key of a block looks like: two groups, its number and the rest.
    """

    top: Mapping[str, str]
    inside: Mapping[str, str]
    block: re.Pattern[str]

    def __call__(self, key: str) -> str | None:
        """Return our name of a tensor; None for a key that no table has."""
        found = self.block.fullmatch(key)
        if not found:
            return self.top.get(key)
        ours = self.inside.get(found[2])
        return None if ours is None else f"blocks.{found[1]}.{ours}"


def spelled(*tables: Mapping[str, str]) -> dict[str, str]:
    """Write tables out: a line with ``{}`` becomes one for weight and one for bias."""
    lines = [line for table in tables for line in table.items()]
    return {
        theirs.replace("{}", kind): ours.replace("{}", kind)
        for theirs, ours in lines
        for kind in (("weight", "bias") if "{}" in theirs else ("",))
    }


def same(*names: str) -> dict[str, str]:
    """Return the lines of a table in which the names are ours already."""
    return {name: name for name in names}


def fold_class_position(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the class token's position to it, where there are registers without one.

    DINOv2 gives positions to class token and patches, but not to the registers between
    them; timm, whose names are ours, then gives them to the patches alone.
    """
    there = [tensors.get(name) for name in ("cls_token", "pos_embed", "reg_token")]
    token, positions, registers = there
    if token is None or positions is None or registers is None:
        return tensors
    if token.ndim != 3 or positions.ndim != 3 or token.shape[2] != positions.shape[2]:
        return tensors
    first = token.float() + positions[:, :1].float()
    return {**tensors, "cls_token": first, "pos_embed": positions[:, 1:]}
