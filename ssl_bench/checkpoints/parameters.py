"""Count the parameters of a network: all, trainable, stage by stage.

Source: open-mmlab/mmselfsup@0.x tools/count_parameters.py, whose lines are kept.
"""

from __future__ import annotations

from typing import Any

import torch

from ssl_bench.backbones import ArchSpec, Backbone, families
from ssl_bench.checkpoints.inventory import stage

_MILLION = 1e6


def of_architecture(spec: ArchSpec) -> Backbone:
    """Return a network without memory, to be counted."""
    with torch.device("meta"):
        backbone: Backbone = families()[spec.family].build(spec)
    return backbone


def count(network: torch.nn.Module) -> dict[str, Any]:
    """Return the number of parameters, of trainable ones, and both by stage."""
    stages: dict[str, dict[str, int]] = {}
    for name, parameter in network.named_parameters():
        row = stages.setdefault(stage(name), {"parameters": 0, "trainable": 0})
        row["parameters"] += parameter.numel()
        row["trainable"] += parameter.numel() if parameter.requires_grad else 0
    return {
        "parameters": sum(row["parameters"] for row in stages.values()),
        "trainable": sum(row["trainable"] for row in stages.values()),
        "stages": stages,
    }


def render(name: str, facts: dict[str, Any]) -> str:
    """Lay the counts out as text."""
    width = max(12, len(name) + 2, *(len(stage) + 2 for stage in facts["stages"]))
    lines = [f"{name:<{width}}{'parameters':>14}{'trainable':>14}"]
    lines += [
        f"{stage:<{width}}{row['parameters']:>14,}{row['trainable']:>14,}"
        for stage, row in facts["stages"].items()
    ]
    total, trainable = facts["parameters"], facts["trainable"]
    lines += [f"{'all':<{width}}{total:>14,}{trainable:>14,}", ""]
    for what in ("backbone", "total"):
        said = f"Number of {what} parameters"
        lines.append(f"{said}: {total / _MILLION:.5g} M")
        lines.append(f"{said} requiring grad: {trainable / _MILLION:.5g} M")
    return "\n".join(lines)
