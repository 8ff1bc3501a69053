"""Config names that users know and that no file has: cells of a grid.

The nine settings of the semi-supervised protocol were published as nine files for each
fraction. Here they are one recipe with a grid, and a known name stands for one cell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ssl_bench.resources import config_names

LR = "optim_wrapper.optimizer.lr"
HEAD = "optim_wrapper.paramwise_cfg.head_lr_mult"

# Source: MMSelfSup 0.x, configs/benchmarks/classification/imagenet/imagenet_1percent/
#     and imagenet_10percent/: nine names each, and one for Sobel gradients, whose head
#     has the rate of the network.
_CELL = re.compile(
    r"resnet50(?:_head(?P<head>100|10|1)_4xb64-steplr1e-(?P<power>[123])"
    r"|-sobel_4xb64-steplr1e-2)-20e_in1k-(?P<percent>1|10)pct"
)
_SOBEL_LR, _SOBEL_HEAD = 0.01, 1


def known_config(name: str) -> tuple[Path, dict[str, Any]] | None:
    """Return the recipe that a known name stands for.

    Args:
        name: with or without ``.py``.

    Returns:
        The config's path and the overrides that make it the named cell; None for a
        name that is not one of these.
    """
    match = _CELL.fullmatch(name.removesuffix(".py"))
    if match is None:
        return None
    path = config_names()[f"resnet50_4xb64-steplr-20e_in1k-{match['percent']}pct"]
    if match["head"] is None:
        return path, {LR: _SOBEL_LR, HEAD: _SOBEL_HEAD}
    return path, {LR: float(f"1e-{match['power']}"), HEAD: int(match["head"])}


def known_names() -> list[str]:
    """Return every name that `known_config` resolves, for lists and messages."""
    found = []
    for percent in (1, 10):
        end = f"20e_in1k-{percent}pct"
        found += [
            f"resnet50_head{head}_4xb64-steplr1e-{power}-{end}"
            for head in (1, 10, 100)
            for power in (1, 2, 3)
        ]
        found.append(f"resnet50-sobel_4xb64-steplr1e-2-{end}")
    return found
