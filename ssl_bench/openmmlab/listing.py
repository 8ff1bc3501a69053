"""The recipes of a protocol as a table, for the documentation."""

from __future__ import annotations

import ast
from typing import Any

from ssl_bench.openmmlab.reading import read_recipe, recipes

_HEAD = ("config", "what", "networks", "data", "optimiser", "rate", "batch", "length")


def table(protocol: str) -> str:
    """Return every shipped recipe as one line of a markdown table.

    Args:
        protocol: ``detect`` or ``segment``.
    """
    lines = [
        f"| {' | '.join(_HEAD)} |",
        "| --- | --- | --- | --- | --- | --: | --: | --: |",
    ]
    for name, path in recipes(protocol).items():
        config = read_recipe(path, {})
        said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        what = " ".join(said.split("\n\n")[0].split()).rstrip(".")
        optimizer = config.optim_wrapper.optimizer
        cells = (
            f"`{name}`{' *' if config.get('default') else ''}",
            what,
            config.backbones,
            config.dataset,
            optimizer.type,
            f"{optimizer.lr:g}",
            str(config.auto_scale_lr.base_batch_size),
            _length(config.train_cfg),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _length(train: Any) -> str:
    if "max_iters" in train:
        return f"{train.max_iters:,} it"
    return f"{train.max_epochs} ep"
