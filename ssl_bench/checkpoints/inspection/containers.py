"""The state dicts of a file, their prefixes and sizes, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.formats import pickled_modules
from ssl_bench.checkpoints.inspection.foreign import clean, describe, leaves
from ssl_bench.checkpoints.sorting import is_state, opened

_DEPTH = 8
_MOST_CONTAINERS = 50
_MOST_PREFIXES = 40
_MOST_ENTRIES = 100
_MOST_SETTINGS = 25
_MOST_ROWS = 1000


def containers(tree: Any) -> list[dict[str, Any]]:
    """Return every state dict of a file, with its prefixes.

    Those that are numbered, as in the state of an optimiser, count together.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    _find(tree, "", _DEPTH, found)
    rows = []
    for path, dicts in found.items():
        tensors = [t for one in dicts for t in one.values() if isinstance(t, Tensor)]
        row = {"path": clean(path), "dicts": len(dicts), **_sizes(tensors)}
        row["prefixes"] = prefixes(dicts[0]) if len(dicts) == 1 else []
        rows.append(row)
    return rows[:_MOST_CONTAINERS]


def _find(
    node: Any, path: str, depth: int, found: dict[str, list[Mapping[str, Any]]]
) -> None:
    """Collect the state dicts below a node by their paths."""
    node = opened(node)
    if not isinstance(node, Mapping) or not depth:
        return
    if is_state(node):
        found.setdefault(path, []).append(node)
    for key, value in node.items():
        part = clean(key, 60) if isinstance(key, str) else "*"
        _find(value, f"{path}.{part}" if path else part, depth - 1, found)


def _sizes(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Count tensors, their numbers and bytes; one with two names counts twice."""
    tensors = list(tensors)
    return {
        "tensors": len(tensors),
        "numbers": sum(tensor.numel() for tensor in tensors),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    }


def prefixes(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how the keys of a state dict begin, below what all of them share.

    Args:
        state: tensors by key.
    """
    keys = [key for key, value in state.items() if isinstance(value, Tensor)]
    start = ""
    while heads := {key[len(start) :].partition(".")[0] for key in keys}:
        deeper = f"{start}{next(iter(heads))}."
        if len(heads) > 1 or not all(key.startswith(deeper) for key in keys):
            break
        start = deeper
    groups: dict[str, list[Tensor]] = {}
    for key in keys:
        head, dot, _ = key[len(start) :].partition(".")
        groups.setdefault(f"{start}{head}{dot}", []).append(state[key])
    rows = [{"prefix": clean(name), **_sizes(group)} for name, group in groups.items()]
    if len(rows) > _MOST_PREFIXES:
        rest = [t for group in list(groups.values())[_MOST_PREFIXES:] for t in group]
        rows = rows[:_MOST_PREFIXES]
        rows.append({"prefix": f"{len(groups) - len(rows)} more", **_sizes(rest)})
    return rows


def entries(tree: Any) -> dict[str, str]:
    """Return what stands in a file beside its state dicts, by name, in a few words.

    The attributes of namespaces and settings are shown one by one, those of networks
    that were pickled whole too.
    """
    found: dict[str, str] = {}
    if pickled_modules.is_module(tree):
        _show("", tree, found)
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            _show(clean(key, 60), value, found)
    if len(found) > _MOST_ENTRIES:
        more = len(found) - _MOST_ENTRIES
        found = dict(list(found.items())[:_MOST_ENTRIES]) | {"...": f"{more} more"}
    return found


def _show(name: str, value: Any, found: dict[str, str]) -> None:
    """Add the rows of one entry."""
    if pickled_modules.is_module(value):
        start = f"{name}." if name else ""
        settings = pickled_modules.hyper_parameters(value)
        rows = [
            (f"{start}{clean(key, 60)}", describe(v)) for key, v in settings.items()
        ]
    elif isinstance(value, Tensor) or _holds_only_states(value):
        return
    else:
        # Objects that refer to one another have rows without end.
        rows = list(islice(leaves(name, value, _holds_only_states), _MOST_ROWS))
    found.update(rows[:_MOST_SETTINGS])
    if len(rows) > _MOST_SETTINGS:
        least = "at least " if len(rows) == _MOST_ROWS else ""
        found[f"{name}. ..."] = f"{least}{len(rows) - _MOST_SETTINGS} more"


def _holds_only_states(value: Any, depth: int = _DEPTH) -> bool:
    """Tell whether all that lies in a value are state dicts, which are shown so."""
    value = opened(value)
    if not isinstance(value, Mapping) or not value or not depth:
        return False
    return is_state(value) or all(
        _holds_only_states(item, depth - 1) for item in value.values()
    )
