"""The table of producers for the documentation, made of the layouts themselves."""

from __future__ import annotations

from types import ModuleType

from ssl_bench.checkpoints.catalogue import layouts, recipe_of
from ssl_bench.checkpoints.layout import AVERAGE, CONTAINERS, ONLINE, Recipe, Rules
from ssl_bench.checkpoints.sorting import merged

HEADINGS = ("layout", "producers", "where", "online", "EMA", "default", "dropped")
_SHOWN = 4


def table() -> str:
    """Return what is read, taken and dropped, as a markdown table."""
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
    ]
    lines += [f"| {' | '.join(row(module))} |" for module in layouts().values()]
    return "\n".join(lines)


def row(module: ModuleType) -> tuple[str, ...]:
    """Return the cells of one layout."""
    recipe = recipe_of(module) or Recipe()
    producers = "; ".join(item.title for item in module.PRODUCERS)
    own = {item.encoder for item in module.PRODUCERS if item.encoder} - {recipe.default}
    default = recipe.default + "".join(f" ({copy} for some)" for copy in sorted(own))
    naming = getattr(module, "NAMING", None)
    drop = merged(recipe.outside, recipe.inside, naming.drop if naming else {})
    return (
        f"`{module.LAYOUT}`",
        producers,
        _where(recipe),
        _prefixes(recipe.online),
        _prefixes(_averages(recipe)),
        default,
        _rules(drop),
    )


def _where(recipe: Recipe) -> str:
    """Name the containers; the usual ones are named once, below the table."""
    if recipe.containers == CONTAINERS:
        return "usual"
    return ", ".join(f"`{path}`" if path else "flat" for path in recipe.containers)


def _averages(recipe: Recipe) -> tuple[str, ...]:
    """Return the prefixes of averages, and the containers that hold nothing else."""
    averaged = tuple(
        path
        for path, copy in recipe.containers.items()
        if copy != ONLINE and recipe.containers != CONTAINERS
    )
    return recipe.ema + averaged


def _prefixes(prefixes: tuple[str, ...]) -> str:
    return ", ".join(f"`{prefix}`" if prefix else "no prefix" for prefix in prefixes)


def _rules(rules: Rules) -> str:
    """Name what is dropped, with its first keys."""
    told = []
    for rule, patterns in rules.items():
        if rule in AVERAGE:
            continue
        shown = ", ".join(f"`{pattern}`" for pattern in patterns[:_SHOWN])
        more = " ..." if len(patterns) > _SHOWN else ""
        told.append(f"{rule}: {shown}{more}")
    return "; ".join(told)
