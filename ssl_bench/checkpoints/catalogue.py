"""The layouts and namings that there are, found by their files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import ModuleType

from ssl_bench.checkpoints.layout import Naming, Producer, Recipe
from ssl_bench.errors import UsageError, unknown


@functools.cache
def layouts() -> dict[str, ModuleType]:
    """Return the layouts by name."""
    from ssl_bench.registry import discover

    return discover("ssl_bench.checkpoints", "LAYOUT")


@functools.cache
def namings() -> dict[str, Naming]:
    """Return the namings by name; each stands in the file of its flat layout."""
    found = {}
    for name, module in layouts().items():
        naming = getattr(module, "NAMING", None)
        if isinstance(naming, Naming):
            found[name] = naming
    return found


def recipe_of(module: ModuleType) -> Recipe | None:
    """Return where a layout keeps its networks; a naming alone stands for itself."""
    recipe: Recipe | None = getattr(module, "RECIPE", None)
    if recipe is None and hasattr(module, "NAMING"):
        return Recipe(namings=(module.NAMING.name,))
    return recipe


def producer_of(module: ModuleType, name: str | None) -> Producer:
    """Return one of a layout's producers; the first where none is named.

    Raises:
        UsageError: if the layout has no such producer.
    """
    known: Mapping[str, Producer] = {item.name: item for item in module.PRODUCERS}
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        raise UsageError(unknown(f"producer of {module.LAYOUT} files", name, known))
    return known[name]
