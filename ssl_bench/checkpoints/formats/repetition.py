"""Refuse files whose names or numbers are far more than any network's.

A few bytes can mention one tensor under a hundred thousand names, or repeat one number
a million times: every step after reading would be slow, and copies would be huge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.formats import pickled_modules
from ssl_bench.checkpoints.formats.placeholder import Placeholder, shown
from ssl_bench.errors import CheckpointError

_NAMES = 10_000
"""Tensors of one state dict; the largest networks have a few thousand."""
_LONGEST = 1000
_TIMES = 16
"""How often a file may mention its numbers; weights that layers share do so."""
_ANYWAY = 256 << 20
"""Bytes that any state dict may have."""
_PATHS = 200_000


def check(tree: Any, size: int) -> None:
    """Look at every state dict in nested containers.

    Args:
        tree: what a file holds; it can be walked.
        size: of the file.

    Raises:
        CheckpointError: if one has too many tensors, too long a name, or numbers that
            the file cannot hold.
    """
    paths = _Paths(size)
    if paths.below(tree) > _PATHS + size // 64:
        raise CheckpointError("it repeats its state dicts without end")


class _Paths:
    """Count the paths that lead to tensors, each container only once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[int, tuple[Any, int]] = {}

    def below(self, value: Any) -> int:
        """Return how many paths lead from a value to a tensor."""
        if isinstance(value, Tensor):
            return 1
        if not isinstance(value, (Mapping, list, tuple, Placeholder)):
            return 0
        if id(value) not in self._known:
            # The value is kept, so that its id stays its own.
            items = self._items(value)
            self._known[id(value)] = value, sum(self.below(item) for item in items)
        return self._known[id(value)][1]

    def _items(self, value: Any) -> Iterable[Any]:
        """Return what lies in a container or a network."""
        if isinstance(value, Placeholder):
            value = pickled_modules.state_dict(value) or {}
        if not isinstance(value, Mapping):
            return list(value)
        self._check(value)
        return value.values()

    def _check(self, state: Mapping[Any, Any]) -> None:
        tensors = [item for item in state.values() if isinstance(item, Tensor)]
        if not tensors:
            return
        if len(tensors) > _NAMES:
            raise CheckpointError(
                f"it has {len(tensors)} tensors in one state dict, far more than any "
                "network"
            )
        for key in state:
            if isinstance(key, str) and len(key) > _LONGEST:
                raise CheckpointError(f"the name {shown(key)} in it is absurdly long")
        total = sum(tensor.nbytes for tensor in tensors)
        if total > _ANYWAY + _TIMES * self._size:
            raise CheckpointError(
                f"its tensors claim {total} bytes in a file of {self._size}, the same "
                "numbers again and again"
            )
