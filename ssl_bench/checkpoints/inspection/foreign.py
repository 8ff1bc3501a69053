"""Foreign values as short plain text: one line, no control characters, no surprise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.formats.placeholder import (
    Placeholder,
    attributes,
    plain,
    shown,
)

_KEY = 120
_ITEMS = 8
_DEPTH = 3


def clean(text: Any, longest: int = _KEY) -> str:
    """Return a key as text of one line that a terminal can take."""
    text = text if isinstance(text, str) else shown(text)
    safe = "".join(c if c.isprintable() else "?" for c in text[: longest + 1])
    return safe if len(safe) <= longest else f"{safe[:longest]}..."


def describe(value: Any) -> str:
    """Return what a value is, in a few words."""
    value = plain(value)
    if isinstance(value, Tensor):
        shape = " x ".join(map(str, value.shape))
        return f"tensor {shape or 'of one number'}, {str(value.dtype)[6:]}"
    if isinstance(value, Mapping):
        return _listed(f"dict of {len(value)}", value)
    if isinstance(value, Placeholder):
        found = attributes(value)
        name = clean(value.origin)
        return _listed(name, found) if found else name
    if isinstance(value, (list, tuple, set, frozenset)):
        if len(value) <= _ITEMS and all(_is_simple(item) for item in value):
            return f"[{', '.join(shown(item) for item in value)}]"
        return f"{type(value).__name__} of {len(value)}"
    return shown(value)


def _listed(what: str, items: Mapping[Any, Any]) -> str:
    names = ", ".join(clean(name, 40) for name in list(items)[:_ITEMS])
    more = ", ..." if len(items) > _ITEMS else ""
    return f"{what}: {names}{more}" if items else what


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def leaves(
    name: str,
    value: Any,
    is_whole: Callable[[Any], bool],
    depth: int = _DEPTH,
) -> Iterator[tuple[str, str]]:
    """Yield the settings in a value by their dotted names.

    Args:
        name: of the value.
        value: as the file holds it; the attributes of placeholders are looked into.
        is_whole: tells what is described and not looked into.
        depth: how many levels are looked into; what lies deeper is described.
    """
    value = plain(value)
    inner = attributes(value) if isinstance(value, Placeholder) else value
    if not depth or not isinstance(inner, Mapping) or not inner or is_whole(value):
        yield name, describe(value)
        return
    for key, item in inner.items():
        yield from leaves(f"{name}.{clean(key, 60)}", item, is_whole, depth - 1)
