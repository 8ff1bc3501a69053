"""Account for a loaded checkpoint, stage by stage, for people and for programs."""

from __future__ import annotations

from typing import Any

from ssl_bench.backbones import COUNTER, BackboneWeights, skeleton
from ssl_bench.checkpoints.writer import provenance

_SHOWN = 4


def take_inventory(weights: BackboneWeights) -> dict[str, Any]:
    """Return the provenance and what was matched, missing and dropped, as plain types.

    Counters of batch norm count neither as matched nor as missing.
    """
    stages: dict[str, dict[str, int]] = {}
    for name in skeleton(weights.spec):
        if name.rpartition(".")[2] == COUNTER:
            continue
        row = stages.setdefault(stage(name), {"matched": 0, "missing": 0})
        row["matched" if name in weights.state_dict else "missing"] += 1
    coverage = weights.coverage
    return {
        **provenance(weights),
        "percent": round(coverage.percent, 2),
        "stages": stages,
        "missing": list(coverage.missing),
        "unexpected": list(coverage.unexpected),
        "dropped": {rule: list(keys) for rule, keys in coverage.dropped.items()},
    }


def stage(name: str) -> str:
    """Return the part that a tensor belongs to, as in conv1, layer2 or blocks.3."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def render_inventory(facts: dict[str, Any]) -> str:
    """Lay an inventory out as text."""
    rows = [
        ("source", facts["source"]),
        ("sha256", facts["sha256"]),
        ("layout", facts["layout"]),
        ("encoder", facts["encoder"]),
        ("arch", facts["arch"]),
    ]
    lines = [f"{name:<12}{value}" for name, value in rows]
    lines += ["", f"{'stage':<12}{'matched':>8}{'missing':>8}"]
    lines += [
        f"{name:<12}{row['matched']:>8}{row['missing']:>8}"
        for name, row in facts["stages"].items()
    ]
    coverage = facts["coverage"]
    total = coverage["matched"] + coverage["missing"]
    lines += ["", f"{coverage['matched']} of {total} tensors ({facts['percent']:g} %)"]
    for title in ("missing", "unexpected"):
        if facts[title]:
            lines.append(f"{title}: {_some(facts[title])}")
    lines += [f"dropped, {r}: {_some(keys)}" for r, keys in facts["dropped"].items()]
    return "\n".join(lines)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
