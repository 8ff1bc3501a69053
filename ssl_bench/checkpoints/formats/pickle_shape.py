"""Refuse trees that cannot be walked: too deep, in a circle, or of endless repetition.

A pickle can mention one list many times, and that list another one many times: a few
bytes that nobody ever comes to the end of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ssl_bench.checkpoints.formats.placeholder import Placeholder
from ssl_bench.errors import CheckpointError

_DEPTH = 200
_WALK = 200_000
"""Steps that any walk may take; with more objects, it may be more."""
_TIMES = 4
_CONTAINERS = (dict, list, tuple, set, frozenset)


def check_shape(tree: Any) -> Any:
    """Return a tree after checking that it can be walked.

    What a placeholder holds is checked by itself: objects may well refer to one
    another in circles.

    Raises:
        CheckpointError: if it is nested too deeply, contains itself, or takes too many
            steps to walk.
    """
    sizes: dict[int, tuple[int, int]] = {}
    roots = [tree]
    seen: set[int] = set()
    objects = 0
    while roots:
        root = roots.pop()
        if isinstance(root, Placeholder):
            if id(root) in seen:
                continue
            seen.add(id(root))
            root = (root.args, root.state, root.items)
            objects = _measure(root, sizes, roots, objects)
            # The tuple is ours and gone after this turn, as is what its id means.
            del sizes[id(root)]
        elif isinstance(root, _CONTAINERS):
            objects = _measure(root, sizes, roots, objects)
    return tree


def _measure(
    root: Any,
    sizes: dict[int, tuple[int, int]],
    placeholders: list[Any],
    objects: int,
) -> int:
    """Note (steps, depth) of every container below one, children before parents.

    Args:
        root: where to begin.
        sizes: by id of the container.
        placeholders: those that are met are added.
        objects: that were met before.

    Returns:
        The number of objects that were met, each once.
    """
    children = _children(root, placeholders)
    path = [(root, children, iter(children))]
    above = {id(root)}
    while path:
        value, children, rest = path[-1]
        child = next((c for c in rest if id(c) not in sizes), None)
        if child is not None:
            if id(child) in above:
                raise CheckpointError("its pickle has a container that contains itself")
            above.add(id(child))
            inner = _children(child, placeholders)
            path.append((child, inner, iter(inner)))
        if child is None:
            path.pop()
            above.discard(id(value))
            steps = 1 + len(value) + sum(sizes[id(c)][0] for c in children)
            depth = 1 + max((sizes[id(c)][1] for c in children), default=0)
            sizes[id(value)] = steps, depth
            objects += 1 + len(value)
            if steps > _WALK + _TIMES * objects:
                raise CheckpointError("its pickle repeats itself without end")
        if len(path) > _DEPTH or (child is None and depth > _DEPTH):
            raise CheckpointError(
                f"its pickle is nested more than {_DEPTH} levels deep"
            )
    return objects


def _children(value: Any, placeholders: list[Any]) -> list[Any]:
    """Return the containers in a container; its placeholders are put aside."""
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value
    found = []
    for item in items:
        if isinstance(item, _CONTAINERS):
            found.append(item)
        elif isinstance(item, Placeholder):
            placeholders.append(item)
    return found
