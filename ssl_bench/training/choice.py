"""Which recipe is taken where none is named: by protocol, data set and architecture."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ssl_bench.config import read_config
from ssl_bench.errors import ConfigError
from ssl_bench.resources import config_names

ANY = "*"
"""The pattern of a recipe for every architecture."""

_WILD = re.compile(r"\[[^\]]*\]|[*?]")


@dataclass(frozen=True)
class Offer:
    """Say what a shipped recipe is for.

    Attributes:
        name: of the config.
        dataset: that it trains on.
        patterns: of the architectures that it was made for.
        fraction: part of the training images whose labels it uses.
        batch: its global batch; it needs as many training images.
        default: whether it is taken where none is named.
    """

    name: str
    dataset: str
    patterns: tuple[str, ...]
    fraction: float
    batch: int
    default: bool

    def fit(self, arch: str) -> int:
        """Return how well an architecture fits; -1 where it does not.

        The more of a name a pattern writes out, the better it fits.
        """
        fits = [
            len(_WILD.sub("", pattern))
            for pattern in self.patterns
            if fnmatchcase(arch, pattern)
        ]
        return max(fits, default=-1)


@functools.lru_cache
def offers(protocol: str) -> tuple[Offer, ...]:
    """Return what every shipped recipe of a training protocol is for."""
    found = []
    for name, path in config_names().items():
        if path.parent.name != protocol:
            continue
        config = read_config(path)
        arch = config.arch
        found.append(
            Offer(
                name=name,
                dataset=config.dataset,
                patterns=(arch,) if isinstance(arch, str) else tuple(arch),
                fraction=float(config.get("fraction") or 1.0),
                batch=int(config.auto_scale_lr.base_batch_size),
                default=bool(config.get("default", False)),
            )
        )
    return tuple(found)


def fitting_config(
    protocol: str,
    dataset: str,
    arch: str,
    *,
    fraction: float | None = None,
    images: int | None = None,
) -> str:
    """Return the name of the recipe that is taken where none is named.

    Of the recipes that are marked as default and whose batch the data can fill, the one
    whose pattern writes out most of the architecture's name; among equals, the one of
    the largest batch. Where the data fill none, the one of the smallest batch.

    Args:
        protocol: ``linear``, ``semi`` or ``finetune``.
        dataset: name of the data set.
        arch: of the backbone.
        fraction: of labels; None takes the largest that there is.
        images: training images, where they are known; a recipe for a fraction of them
            needs a batch that the fraction fills.

    Raises:
        ConfigError: where there is none, with those that there are.
    """
    known = offers(protocol)
    here = [offer for offer in known if offer.dataset == dataset]
    if not here:
        raise ConfigError([_no_dataset(protocol, dataset, known)])
    fitting = [offer for offer in here if offer.default and offer.fit(arch) >= 0]
    if not fitting:
        raise ConfigError([_no_arch(protocol, dataset, arch, here)])
    wanted = max(o.fraction for o in fitting) if fraction is None else fraction
    of_part = [offer for offer in fitting if offer.fraction == wanted]
    if not of_part:
        raise ConfigError([_no_fraction(protocol, dataset, wanted, fitting)])
    filled = [o for o in of_part if images is None or o.batch <= images * o.fraction]
    if not filled:
        return min(of_part, key=lambda offer: offer.batch).name
    return max(filled, key=lambda offer: (offer.fit(arch), offer.batch)).name


def _no_dataset(protocol: str, dataset: str, known: Sequence[Offer]) -> str:
    sets = sorted({offer.dataset for offer in known})
    if not sets:
        return f"{protocol} has no recipes"
    general = [o.name for o in known if o.default and ANY in o.patterns]
    return (
        f"{protocol} has no recipe for {dataset}; it has some for {', '.join(sets)}. "
        f"Name one to take it all the same, as in ssl-bench {protocol} "
        f"{(general or [known[0].name])[0]} --dataset {dataset}"
    )


def _no_fraction(
    protocol: str, dataset: str, fraction: float, fitting: Sequence[Offer]
) -> str:
    there = ", ".join(f"{part:g}" for part in sorted({o.fraction for o in fitting}))
    return (
        f"{protocol} has no recipe for the fraction {fraction:g} of {dataset}; it has "
        f"some for {there}. Name one and change it, as in ssl-bench {protocol} "
        f"{fitting[0].name} --cfg-options fraction={fraction:g}"
    )


def _no_arch(protocol: str, dataset: str, arch: str, here: Sequence[Offer]) -> str:
    there = "; ".join(f"{o.name} for {', '.join(o.patterns)}" for o in here)
    return (
        f"{protocol} has no recipe for {arch} on {dataset}; it has {there}. Name one "
        f"to take it all the same, as in ssl-bench {protocol} {here[0].name}"
    )


def table(protocol: str) -> str:
    """Return the shipped recipes of a training protocol as a Markdown table."""
    words = "config", "what", "taken for", "optimiser", "rate", "decay", "batch"
    rows: list[tuple[str, ...]] = [(*words, "epochs"), ("---",) * 4 + ("--:",) * 4]
    paths = config_names()
    ranked = sorted(offers(protocol), key=lambda o: (ANY in o.patterns, o.name))
    for offer in ranked:
        config = read_config(paths[offer.name])
        optimizer = config.optim_wrapper.optimizer
        rate = f"{optimizer.lr:g}"
        swept = (config.get("sweep") or config.get("grid") or {}).get("lr")
        if swept:
            rate = f"{rate} ({len(swept)} from {min(swept):g} to {max(swept):g})"
        taken = offer.patterns if offer.default else ()
        rows.append(
            (
                f"`{offer.name}`",
                _summary(paths[offer.name]),
                ", ".join(f"`{pattern}`" for pattern in taken),
                optimizer.type,
                rate,
                f"{optimizer.get('weight_decay', 0.0):g}",
                str(offer.batch),
                str(config.train_cfg.max_epochs),
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".")
