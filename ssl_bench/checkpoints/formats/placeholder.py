"""What stands for an object whose class is not ours to call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = 80
_PATHS = ("pathlib.", "pathlib._local.")


class Placeholder:
    """Stand for a class or function of the file, or for what it would have made.

    Attributes:
        origin: dotted name of the class or function in the file.
        args: what it was called with; None for the bare name, which nobody called.
        state: what it would have been restored from.
        items: what would have been put into it.
    """

    __slots__ = ("args", "items", "origin", "state")

    def __init__(
        self, origin: str, args: tuple[Any, ...] | None = None, state: Any = None
    ) -> None:
        self.origin = origin
        self.args = args
        self.state = state
        self.items: list[Any] = []

    def __repr__(self) -> str:
        return f"<placeholder of {shown(self.origin)}>"


def shown(value: Any) -> str:
    """Return a foreign value as short text of one line, whatever it is."""
    text = value if isinstance(value, str) else _named(value)
    text = "".join(c if c.isprintable() else "?" for c in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _named(value: Any) -> str:
    """Name a value that may be nested too deeply for its own repr."""
    if isinstance(value, Placeholder):
        return repr(value)
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 64 else "a huge number"
    return f"a {type(value).__name__}"


def attributes(placeholder: Placeholder) -> dict[str, Any]:
    """Return what an object would have had as attributes and named items.

    Namespaces, Lightning's AttributeDict, omegaconf's DictConfig, history buffers and
    modules all become one mapping; values that only wrap a plain one are unwrapped.
    """
    state = placeholder.state
    parts = state if isinstance(state, tuple) else (state,)
    found: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, Mapping):
            found |= {key: v for key, v in part.items() if isinstance(key, str)}
    if isinstance(found.get("_content"), Mapping) and "_metadata" in found:
        content = found["_content"]
        found = {key: v for key, v in content.items() if isinstance(key, str)}
    for item in placeholder.items:
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            found[item[0]] = item[1]
    return {key: plain(value) for key, value in found.items()}


def plain(value: Any) -> Any:
    """Return the plain value that a placeholder only wraps; else the value itself.

    Omegaconf keeps every value in a node and every list in another, pathlib every path
    in its parts.
    """
    if not isinstance(value, Placeholder):
        return value
    state = value.state
    if isinstance(state, Mapping) and "_metadata" in state:
        if isinstance(state.get("_content"), list):
            return [_in_node(item) for item in state["_content"]]
        return _in_node(value)
    if value.origin.startswith(_PATHS) and value.args:
        parts = [part for part in value.args if isinstance(part, str)]
        return "/".join(parts).replace("//", "/")
    return value


def _in_node(value: Any) -> Any:
    state = value.state if isinstance(value, Placeholder) else None
    if isinstance(state, Mapping) and "_val" in state and "_metadata" in state:
        return state["_val"]
    return value
