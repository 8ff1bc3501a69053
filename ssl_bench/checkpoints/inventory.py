"""Account for a loaded checkpoint, stage by stage, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_bench.backbones import COUNTER, BackboneWeights, families, skeleton
from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.checkpoints.writer import provenance

_SHOWN = 4
_NUMBERED = ("blocks", "layers", "stages", "features")


def take_inventory(weights: BackboneWeights) -> dict[str, Any]:
    """Return the provenance and what was matched, missing and dropped, as plain types.

    Counters of batch norm count neither as matched nor as missing.
    """
    stages: dict[str, dict[str, int]] = {}
    numbers = {"matched": 0, "missing": 0}
    for name, place in skeleton(weights.spec).items():
        if name.rpartition(".")[2] == COUNTER:
            continue
        row = stages.setdefault(stage(name), {"matched": 0, "missing": 0, "numbers": 0})
        found = "matched" if name in weights.state_dict else "missing"
        row[found] += 1
        row["numbers"] += place.numel() if found == "matched" else 0
        numbers[found] += place.numel()
    coverage = weights.coverage
    percent = round(100 * numbers["matched"] / sum(numbers.values()), 2)
    return {
        **provenance(weights),
        # One bias among millions is missing all the same.
        "percent": min(percent, 99.99) if numbers["missing"] else percent,
        "numbers": numbers["matched"],
        "unseen": unseen(weights),
        "alternatives": dict(weights.alternatives),
        "stages": stages,
        "missing": list(coverage.missing),
        "unexpected": list(coverage.unexpected),
        "dropped": {rule: list(keys) for rule, keys in coverage.dropped.items()},
    }


def unseen(weights: BackboneWeights) -> dict[str, Any]:
    """Return what was taken for options of the architecture that no shape shows."""
    family = families().get(weights.spec.family)
    options = weights.spec.options
    names = () if family is None else family.HIDDEN
    return {name: options[name] for name in names if name in options}


def stage(name: str) -> str:
    """Return the part that a tensor belongs to, as in conv1, layer2 or blocks.3."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in _NUMBERED else parts[0]


def undecided(weights: BackboneWeights) -> str:
    """Say who is taken to have written the file, who else could, and how to say so."""
    return _undecided(weights.producer, weights.alternatives)


def _undecided(producer: str, alternatives: Mapping[str, str]) -> str:
    others = "; ".join(f"{name}: {what}" for name, what in alternatives.items())
    return (
        f"taken as written by {producer}; others write the same names ({others}): say "
        "who with --cfg-options producer=NAME"
    )


def render_inventory(facts: dict[str, Any]) -> str:
    """Lay an inventory out as text."""
    rows = [
        ("source", facts["source"]),
        ("sha256", facts["sha256"]),
        ("layout", facts["layout"]),
        ("encoder", facts["encoder"]),
        ("producer", facts["producer"]),
        ("arch", facts["arch"]),
    ]
    if facts["unseen"]:
        told = ", ".join(f"{name} {value}" for name, value in facts["unseen"].items())
        rows.append(("assumed", f"{told} (no shape shows it)"))
    lines = [f"{name:<12}{value}" for name, value in rows]
    lines += ["", f"{'stage':<12}{'matched':>8}{'missing':>8}{'numbers':>14}"]
    lines += [
        f"{name:<12}{row['matched']:>8}{row['missing']:>8}{row['numbers']:>14,}"
        for name, row in facts["stages"].items()
    ]
    coverage = facts["coverage"]
    total = coverage["matched"] + coverage["missing"]
    lines += [
        "",
        f"{coverage['matched']} of {total} tensors, {facts['numbers']:,} numbers "
        f"({facts['percent']:g} %)",
    ]
    if facts["partial"]:
        lines.append(
            "PARTIAL: what is missing is random, and no table shows such weights"
        )
    if coverage["constant"]:
        kinds = ", ".join(f"{kind} {n}" for kind, n in coverage["constant"].items())
        lines.append(f"one value throughout (no weights): {kinds}")
    if coverage["untrained"]:
        lines.append("WARNING: looks untrained, every norm is as it was initialised")
    if facts["alternatives"]:
        lines.append(_undecided(facts["producer"], facts["alternatives"]))
    for title in ("missing", "unexpected"):
        if facts[title]:
            lines.append(f"{title}: {_some(facts[title])}")
    lines += [f"dropped, {r}: {_some(keys)}" for r, keys in facts["dropped"].items()]
    return "\n".join(lines)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(map(shown, names[:_SHOWN]))}{more}"
