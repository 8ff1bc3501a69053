"""Lay the inspection of a checkpoint out as text."""

from __future__ import annotations

from typing import Any

_UNITS = ("B", "KB", "MB", "GB", "TB")
_FEW = 3
"""Keys that are named for a layout that explains less of the file than another."""


def render(facts: dict[str, Any]) -> str:
    """Return lines for people; see `ssl_bench.checkpoints.inspection.inspect`."""
    lines = [f"{facts['file']}  {size(facts['bytes'])}"]
    lines += _containers(facts["containers"])
    beside = {**facts["entries"], **facts["metadata"]}
    if beside:
        width = min(max(map(len, beside)), 40)
        lines += ["", "beside the weights"]
        lines += [f"  {name:<{width}}  {text}" for name, text in beside.items()]
    lines += ["", "layouts"]
    fewest = min(
        (c.get("unexplained_count", 0) for c in facts["candidates"]), default=0
    )
    for candidate in facts["candidates"]:
        whole = candidate.get("unexplained_count", 0) == fewest
        lines += _candidate(candidate) if whole else _candidate(candidate, _FEW)[:1]
    if not facts["candidates"]:
        lines.append("  none knows this file")
    if facts["networks"]:
        lines += ["", "networks by structure"]
        lines += [
            f"  {place['prefix'] or '(the top)'}  names of {place['names']}: "
            f"{_state(place)}"
            for place in facts["networks"]
        ]
    lines += ["", *_next(facts)]
    return "\n".join(lines)


def size(count: float) -> str:
    """Return a number of bytes as people read it, in powers of 1,000."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} {_UNITS[-1]}"


def _containers(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["", "no tensors in it"]
    names = [row["path"] for row in rows]
    names += [f"  {part['prefix']}" for row in rows for part in row["prefixes"]]
    width = min(max(9, *map(len, names)), 60)
    lines = ["", f"{'weights':<{width}}{'tensors':>9}{'numbers':>16}{'size':>10}"]
    for row in rows:
        name = row["path"] or "(the file)"
        lines.append(_row(name, row, width))
        if len(row["prefixes"]) > 1 or (row["prefixes"] and row["path"]):
            lines += [_row(f"  {p['prefix']}", p, width) for p in row["prefixes"]]
    return lines


def _row(name: str, row: dict[str, Any], width: int) -> str:
    return (
        f"{name:<{width}}{row['tensors']:>9}{row['numbers']:>16,}"
        f"{size(row['bytes']):>10}"
    )


def _candidate(candidate: dict[str, Any], most: int | None = None) -> list[str]:
    if "error" in candidate:
        return [f"  {candidate['layout']}: {candidate['error']}"]
    count = candidate["unexplained_count"]
    if count:
        shown = candidate["unexplained"][:most]
        keys = ", ".join(shown)
        more = ", ..." if count > len(shown) else ""
        said = f"leaves {count} keys unexplained: {keys}{more}"
    else:
        said = "explains every key"
    lines = [f"  {candidate['layout']}: {said}"]
    for network in candidate["networks"]:
        mark = ", taken by default" if network["default"] else ""
        prefix = network["prefix"] or "(no prefix)"
        lines.append(f"    {network['encoder']}  {prefix}  {_state(network)}{mark}")
        dropped = ", ".join(f"{rule} {n}" for rule, n in network["dropped"].items())
        if dropped:
            lines.append(f"      dropped: {dropped}")
    lines.append(f"    producer: {candidate['producer']}")
    lines += [
        f"      if {name}: {what} (--cfg-options producer={name})"
        for name, what in candidate["alternatives"].items()
    ]
    return lines


def _state(network: dict[str, Any]) -> str:
    if network["arch"] is None:
        return f"architecture unknown: {network['reason']}"
    said = f"{network['arch']}, {network['tensors']} tensors"
    missing = network["missing_count"]
    if missing:
        names = ", ".join(network["missing"][:3])
        said += f", {missing} missing or of another shape: {names}"
        said += ", ..." if missing > 3 else ""
    return said


def _next(facts: dict[str, Any]) -> list[str]:
    if facts["type"]:
        return ["type next", *(f"  {line}" for line in facts["type"])]
    if not facts["containers"]:
        return ["there is nothing to extract; look for the file with the weights"]
    return [
        "no network of a known kind is in it; docs/add_a_checkpoint_layout.md says how "
        "to add one"
    ]
